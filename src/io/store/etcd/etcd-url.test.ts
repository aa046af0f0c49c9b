import assert from "node:assert/strict";
import { test } from "node:test";
import { Fault } from "../../../model/fault.ts";
import { isEtcdUrl, parseEtcdUrl } from "./etcd-url.ts";

test("an address of an etcd is read with all its members, its prefix, its user and its files", () => {
  assert.deepEqual(parseEtcdUrl("etcd://10.0.0.1:2379,etcd2.example,[fd00::1]:9"), {
    endpoints: [
      { host: "10.0.0.1", port: 2379 },
      { host: "etcd2.example", port: 2379 },
      { host: "fd00::1", port: 9 },
    ],
    isSecure: false,
    prefix: "/weft",
    files: {},
    text: "etcd://10.0.0.1:2379,etcd2.example:2379,[fd00::1]:9",
  });
  const all = parseEtcdUrl("etcd://me@h:1/a/b/?ca=/ca.pem&cert=/c.pem&key=/k.pem");
  assert.deepEqual([all.user, all.prefix, all.isSecure], ["me", "/a/b", true]);
  assert.deepEqual(all.files, { ca: "/ca.pem", cert: "/c.pem", key: "/k.pem" });
  assert.equal(all.text, "etcds://h:1/a/b");
  assert.equal(parseEtcdUrl("etcds://h").isSecure, true);
  assert.deepEqual([isEtcdUrl("etcds://h"), isEtcdUrl("/var/lib/weft")], [true, false]);
});

test("a password in the address is refused, and not shown", () => {
  for (const text of [
    "etcd://me:SECRET@h:1",
    "etcd://h:1?password=SECRET",
    "etcd://:SECRET@h",
    "etcd://a:b:SECRET@h,i",
  ])
    assert.throws(
      () => parseEtcdUrl(text),
      (thrown) =>
        thrown instanceof Fault && /--store-password-file/.test(thrown.message) && !thrown.message.includes("SECRET"),
      text,
    );
});

test("what is no address is refused with an example", () => {
  const wrong = [
    "etcd://",
    "etcd://h:0",
    "etcd://h:70000",
    "etcd://h,,i",
    "http://h:1",
    "etcd://h:1/a b",
    "etcd://h?x=1",
  ];
  for (const text of wrong) assert.throws(() => parseEtcdUrl(text), /give etcd:\/\/HOST:PORT/, text);
});

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { Fault } from "../../model/fault.ts";
import { etcdChoiceOf, type StoreFlags } from "./store-option.ts";

const CA = "-----BEGIN CERTIFICATE-----\nCA";
const CERT = "-----BEGIN CERTIFICATE-----\nCERT";

function files(t: TestContext) {
  const dir = mkdtempSync(join(tmpdir(), "weft-store-option-"));
  t.after(() => rmSync(dir, { recursive: true }));
  return (name: string, text: string, mode = 0o600) => {
    const path = join(dir, name);
    writeFileSync(path, text, { mode });
    return path;
  };
}

function refused(flags: StoreFlags): string {
  try {
    etcdChoiceOf(flags);
  } catch (thrown) {
    assert.ok(thrown instanceof Fault, String(thrown));
    return `${thrown.code} ${thrown.message}`;
  }
  return assert.fail("not refused");
}

test("without --store the state is in the data directory", () => {
  assert.equal(etcdChoiceOf({}), undefined);
  assert.match(refused({ storeUser: "me" }), /without --store/);
});

test("files and user may be named in the address or by options; what is logged has no secret in it", (t) => {
  const file = files(t);
  const [ca, cert, key] = [file("ca", CA), file("cert", CERT), file("key", "KEY")];
  const storePasswordFile = file("password", "SECRET\n");
  const byUrl = etcdChoiceOf({ store: `etcd://me@h:1?ca=${ca}&cert=${cert}&key=${key}`, storePasswordFile });
  const byOptions = etcdChoiceOf({
    ...{ store: "etcd://h:1", storeCa: ca, storeCert: cert, storeKey: key },
    ...{ storeUser: "me", storePasswordFile },
  });
  assert.deepEqual(byUrl, byOptions);
  assert.deepEqual(byUrl, {
    endpoints: [{ host: "h", port: 1 }],
    prefix: "/weft",
    text: "etcds://h:1",
    tls: { ca: CA, cert: CERT, key: "KEY" },
    credentials: { user: "me", password: "SECRET" },
  });
});

test("a password travels by TLS or to this host alone, and comes from a file that nobody else reads", (t) => {
  const file = files(t);
  const storePasswordFile = file("password", "SECRET");
  for (const host of ["127.0.0.1", "localhost", "[::1]"])
    assert.equal(etcdChoiceOf({ store: `etcd://me@${host}`, storePasswordFile })?.credentials?.password, "SECRET");
  assert.match(refused({ store: "etcd://me@127.0.0.1,10.0.0.1", storePasswordFile }), /in the clear/);
  assert.equal(etcdChoiceOf({ store: "etcds://me@10.0.0.1", storePasswordFile })?.text, "etcds://10.0.0.1:2379");
  const store = "etcd://me@127.0.0.1";
  assert.match(refused({ store, storePasswordFile: file("open", "SECRET", 0o644) }), /no-rights/);
  assert.match(refused({ store, storePasswordFile: file("empty", "\n") }), /is empty/);
  assert.match(refused({ store, storePasswordFile: "/nowhere" }), /there is no file/);
  assert.match(refused({ store }), /go together/);
  assert.match(refused({ store: "etcd://127.0.0.1", storePasswordFile }), /go together/);
  assert.match(refused({ store: "etcds://h", storeCert: "/c" }), /go together/);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { cidr, ipInterface } from "../../model/ip.ts";
import { vtepMac, vtepPool } from "./vtep.ts";

test("a VTEP's MAC is the OUI and the low 24 bits of its IPv4 address", () => {
  const rows = [
    ["44.128.0.1/20", "70:b3:d5:80:00:01"],
    ["44.128.0.255/20", "70:b3:d5:80:00:ff"],
    ["44.128.1.0/20", "70:b3:d5:80:01:00"],
    ["44.128.15.254/20", "70:b3:d5:80:0f:fe"],
    ["10.200.3.7/8", "70:b3:d5:c8:03:07"],
  ] as const;
  for (const [address, expected] of rows)
    assert.equal(vtepMac("70:B3:D5:00:00:00", ipInterface(address)), expected, address);
});

test("the default pool has 4,094 addresses, between its first and its last", () => {
  const pool = vtepPool(cidr("44.128.0.0/20"));
  const given = Array.from({ length: 4_094 }, () => pool.take());
  assert.deepEqual(
    [given[0], given[1], given.at(-1), pool.take()],
    ["44.128.0.1/20", "44.128.0.2/20", "44.128.15.254/20", undefined],
  );
  assert.deepEqual(pool.usage(), { kind: "ip", pool: "44.128.0.0/20", used: 4_094n, size: 4_094n });
});

test("an IPv6 pool carries past its 2,039th address, where the original stopped", () => {
  const pool = vtepPool(cidr("fd01:a::/64"));
  const given = Array.from({ length: 70_000 }, () => pool.take());
  assert.deepEqual(
    [0, 254, 255, 2_039, 65_535].map((n) => given[n]),
    ["fd01:a::1/64", "fd01:a::ff/64", "fd01:a::100/64", "fd01:a::7f8/64", "fd01:a::1:0/64"],
  );
});

test("only a free address of the pool can be reserved: not its ends, not another's, not one of another length", () => {
  const pool = vtepPool(cidr("44.128.0.0/20"));
  for (const address of ["44.128.0.0/20", "44.128.15.255/20", "44.129.0.1/20", "44.128.0.1/24", "fd01:a::1/64"])
    assert.ok(!pool.reserve(ipInterface(address)) && !pool.release(ipInterface(address)), address);
  assert.ok(pool.reserve(ipInterface("44.128.0.1/20")));
  assert.ok(!pool.reserve(ipInterface("44.128.0.1/20")));
  assert.equal(pool.take(), "44.128.0.2/20");
  assert.ok(pool.release(ipInterface("44.128.0.1/20")));
  assert.ok(!pool.release(ipInterface("44.128.0.1/20")));
  assert.equal(pool.take(), "44.128.0.1/20");
});

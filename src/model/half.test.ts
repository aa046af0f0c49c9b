import assert from "node:assert/strict";
import { test } from "node:test";
import { gatewayOf, leaseRange } from "./half.ts";
import { cidr, nthAddress } from "./ip.ts";
import { AGENT_SUBNET_LENGTH_MAX_IPV4, AGENT_SUBNET_LENGTH_MAX_IPV6 } from "./limits.ts";

test("network, gateway and (IPv4 only) broadcast are never leased", () => {
  const rows = [
    ["9.0.1.0/25", "9.0.1.1", "9.0.1.2", "9.0.1.126"],
    ["9.0.1.128/25", "9.0.1.129", "9.0.1.130", "9.0.1.254"],
    ["9.0.1.4/30", "9.0.1.5", "9.0.1.6", "9.0.1.6"],
    ["fd01:b:0:0:1::/81", "fd01:b::1:0:0:1", "fd01:b::1:0:0:2", "fd01:b::1:7fff:ffff:ffff"],
    ["fd01:b::4/126", "fd01:b::5", "fd01:b::6", "fd01:b::7"],
  ] as const;
  for (const [text, gateway, first, last] of rows) {
    const half = cidr(text);
    const range = leaseRange(half);
    assert.deepEqual(
      [gatewayOf(half), nthAddress(half, range.first), nthAddress(half, range.last)],
      [gateway, first, last],
    );
  }
});

test("a half of /25 has the 125 addresses that the original's host-local gave", () => {
  const { first, last } = leaseRange(cidr("9.0.1.0/25"));
  assert.equal(last - first + 1n, 125n);
});

test("the smallest subnet that the limits allow still has room for a container in each half", () => {
  for (const half of [`9.0.0.0/${AGENT_SUBNET_LENGTH_MAX_IPV4 + 1}`, `fd01::/${AGENT_SUBNET_LENGTH_MAX_IPV6 + 1}`]) {
    const { first, last } = leaseRange(cidr(half));
    assert.ok(first <= last, half);
  }
});

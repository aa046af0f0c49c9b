import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  bigIntToIp,
  type Cidr,
  cidr,
  contains,
  containsCidr,
  type Family,
  type Ip,
  ip,
  lengthOf,
  networkOf,
  withLength,
} from "../../model/ip.ts";
import { PrefixIndex } from "./prefix-index.ts";

/** Addresses that differ in a few bits only, at both ends, so that prefixes hold each other and lookups hit. */
const address = (family: Family): fc.Arbitrary<Ip> =>
  fc
    .tuple(fc.bigInt(0n, 7n), fc.bigInt(0n, 7n))
    .map(([first, last]) => bigIntToIp(family, (first << (family === 4 ? 29n : 125n)) | last));
const prefix = (family: Family): fc.Arbitrary<Cidr> =>
  fc
    .tuple(address(family), fc.integer({ min: 0, max: family === 4 ? 32 : 128 }))
    .map(([start, length]) => networkOf(withLength(start, length)));
const eitherFamily = <T>(of: (family: Family) => fc.Arbitrary<T>): fc.Arbitrary<T> => fc.oneof(of(4), of(6));
const entries = fc.array(fc.tuple(eitherFamily(prefix), fc.nat()), { maxLength: 12 });

/** All prefixes looked at, one after another. Of two equal ones the later holds. */
function linear(all: readonly (readonly [Cidr, number])[], holds: (prefix: Cidr) => boolean): number | undefined {
  const holding = all.filter(([each]) => holds(each)).toSorted(([a], [b]) => lengthOf(a) - lengthOf(b));
  return holding.at(-1)?.[1];
}

test("an address is found as by looking at all prefixes: by the longest that holds it", () => {
  fc.assert(
    fc.property(entries, eitherFamily(address), (all, where) => {
      assert.equal(
        new PrefixIndex(all).find(where),
        linear(all, (each) => contains(each, where)),
      );
    }),
    { numRuns: 2_000 },
  );
});

test("a prefix is found by the longest that holds all of it", () => {
  fc.assert(
    fc.property(entries, eitherFamily(prefix), (all, where) => {
      assert.equal(
        new PrefixIndex(all).find(where),
        linear(all, (each) => containsCidr(each, where)),
      );
    }),
    { numRuns: 2_000 },
  );
});

test("a host's own address goes before the slice that it lies in, and what nobody has is not found", () => {
  const index = new PrefixIndex([
    [cidr("9.0.2.0/24"), "host2"],
    [cidr("9.0.2.7/32"), "host3"],
    [cidr("::/0"), "router"],
  ]);
  assert.equal(index.find(ip("9.0.2.7")), "host3");
  assert.equal(index.find(ip("9.0.2.8")), "host2");
  assert.equal(index.find(cidr("9.0.2.0/25")), "host2");
  assert.equal(index.find(cidr("9.0.0.0/8")), undefined, "a part of it is not all of it");
  assert.equal(index.find(ip("9.0.3.1")), undefined);
  assert.equal(index.find(ip("::1")), "router");
});

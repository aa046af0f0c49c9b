import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Fault } from "../../model/fault.ts";
import { leaseRange } from "../../model/half.ts";
import { type Cidr, cidr, type Ip, indexOfAddress, ip, nthAddress } from "../../model/ip.ts";
import { type Pool, pickAddress } from "./pick-address.ts";

const pool = (half: string): Pool => ({ network: "dcos", agent: ip("10.0.0.12"), half: cidr(half) });
const ips = (...texts: string[]) => new Set(texts.map(ip));

test("the address behind the last one that was given, and the first after the end", () => {
  const table: [string, Set<Ip>, string | undefined, string][] = [
    ["9.0.1.0/25", ips(), undefined, "9.0.1.2"],
    ["9.0.1.0/25", ips("9.0.1.2"), undefined, "9.0.1.3"],
    ["9.0.1.0/25", ips(), "9.0.1.2", "9.0.1.3"],
    ["9.0.1.0/25", ips("9.0.1.3"), "9.0.1.2", "9.0.1.4"],
    ["9.0.1.0/25", ips(), "9.0.1.126", "9.0.1.2"],
    ["9.0.1.0/25", ips("9.0.1.2"), "9.0.1.126", "9.0.1.3"],
    ["9.0.1.0/25", ips(), "9.0.2.7", "9.0.1.2"],
    ["9.0.1.0/25", ips(), "9.0.1.1", "9.0.1.2"],
    ["9.0.1.0/30", ips(), "9.0.1.2", "9.0.1.2"],
    ["fd01:b::/81", ips("fd01:b::2"), undefined, "fd01:b::3"],
    ["fd01:b::/81", ips(), "fd01:b::7fff:ffff:ffff", "fd01:b::2"],
    ["fd01:b::/126", ips("fd01:b::2"), "fd01:b::2", "fd01:b::3"],
  ];
  for (const [half, leased, last, expected] of table)
    assert.equal(
      pickAddress(pool(half), leased, last === undefined ? undefined : ip(last)),
      expected,
      `${half} ${last}`,
    );
});

test("a full half says whose it is, how full, and what helps", () => {
  const leased = new Set(Array.from({ length: 125 }, (_, i) => nthAddress(cidr("9.0.1.0/25"), BigInt(i + 2))));
  assert.throws(
    () => pickAddress(pool("9.0.1.0/25"), leased, undefined),
    (error) =>
      error instanceof Fault &&
      error.code === "exhausted" &&
      /^agent 10\.0\.0\.12: network dcos has no free address in 9\.0\.1\.0\/25 \(125 of 125 leased\); remove/.test(
        error.message,
      ),
  );
});

test("a half too small for any container is full from the start", () => {
  assert.throws(() => pickAddress(pool("9.0.1.0/31"), new Set(), undefined), /\(0 of 0 leased\)/);
});

const HALVES: readonly Cidr[] = [cidr("9.0.1.0/28"), cidr("fd01:b::/125")];

test("leases are distinct, inside the range, and as many as the range has", () => {
  fc.assert(
    fc.property(fc.constantFrom(...HALVES), fc.array(fc.nat(20)), (half, releases) => {
      const { first, last } = leaseRange(half);
      const held: Ip[] = [];
      let given: Ip | undefined;
      const take = () => {
        given = pickAddress(pool(half), new Set(held), given);
        assert(!held.includes(given), `${given} is free`);
        const index = indexOfAddress(half, given);
        assert(index >= first && index <= last, `${given} may be leased`);
        held.push(given);
      };
      for (const n of releases)
        if (n < held.length) held.splice(n, 1);
        else if (held.length < Number(last - first) + 1) take();
      while (held.length < Number(last - first) + 1) take();
      assert.throws(() => pickAddress(pool(half), new Set(held), given), Fault);
    }),
  );
});

test("an address that was given back rests until all others were given", () => {
  fc.assert(
    fc.property(fc.constantFrom(...HALVES), fc.nat(30), (half, rounds) => {
      const { first, last } = leaseRange(half);
      const size = Number(last - first) + 1;
      const given: Ip[] = [];
      for (let i = 0; i < rounds; i++) given.push(pickAddress(pool(half), new Set(), given.at(-1)));
      for (const [i, address] of given.entries())
        assert(!given.slice(Math.max(0, i - size + 1), i).includes(address), `${address} rested`);
    }),
  );
});

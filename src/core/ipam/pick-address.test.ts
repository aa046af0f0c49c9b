import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { SEED_ATTACHMENT } from "../../../test/support/seed-cluster.ts";
import type { Lease } from "../../model/attachment.ts";
import { isLeasable, leasableCount } from "../../model/half.ts";
import { type Cidr, cidr, familyOf, type Ip, ip } from "../../model/ip.ts";
import { ADDRESS_REST_MS } from "../../model/limits.ts";
import { Ledger } from "./ledger.ts";
import { pickAddress } from "./pick-address.ts";

function leaseOf(address: Ip): Lease {
  const { ip: _, ...rest } = SEED_ATTACHMENT;
  return { ...rest, containerId: address, ...(familyOf(address) === 4 ? { ip: address } : { ip6: address }) };
}

function ledgerWith(held: readonly string[], last?: readonly [half: string, address: string]): Ledger {
  const ledger = new Ledger(
    [],
    held.map((address) => leaseOf(ip(address))),
    0,
  );
  if (last !== undefined) ledger.gave(cidr(last[0]), ip(last[1]));
  return ledger;
}

function picked(halves: readonly string[], ledger: Ledger, now = 0): string | undefined {
  return pickAddress(halves.map(cidr), ledger, now)?.address;
}

test("the address behind the last one that was given, and the first after the end", () => {
  const table: [string, string[], string | undefined, string][] = [
    ["9.0.1.0/25", [], undefined, "9.0.1.2"],
    ["9.0.1.0/25", ["9.0.1.2"], undefined, "9.0.1.3"],
    ["9.0.1.0/25", [], "9.0.1.2", "9.0.1.3"],
    ["9.0.1.0/25", ["9.0.1.3"], "9.0.1.2", "9.0.1.4"],
    ["9.0.1.0/25", [], "9.0.1.126", "9.0.1.2"],
    ["9.0.1.0/25", ["9.0.1.2"], "9.0.1.126", "9.0.1.3"],
    ["9.0.1.0/25", [], "9.0.1.1", "9.0.1.2"],
    ["9.0.1.0/30", [], "9.0.1.2", "9.0.1.2"],
    ["fd01:b::/81", ["fd01:b::2"], undefined, "fd01:b::3"],
    ["fd01:b::/81", [], "fd01:b::7fff:ffff:ffff", "fd01:b::2"],
    ["fd01:b::/126", ["fd01:b::2"], "fd01:b::2", "fd01:b::3"],
  ];
  for (const [half, held, last, expected] of table)
    assert.equal(
      picked([half], ledgerWith(held, last === undefined ? undefined : [half, last])),
      expected,
      `${half} ${last}`,
    );
});

test("a full half borrows from the other; when both are full there is none", () => {
  const [own, other] = ["9.0.1.0/30", "9.0.1.4/30"];
  assert.equal(picked([own, other], ledgerWith([])), "9.0.1.2");
  assert.equal(picked([own, other], ledgerWith(["9.0.1.2"])), "9.0.1.6");
  assert.equal(picked([own], ledgerWith(["9.0.1.2"])), undefined);
  assert.equal(picked([own, other], ledgerWith(["9.0.1.2", "9.0.1.6"])), undefined);
  assert.equal(picked(["9.0.1.0/31"], ledgerWith([])), undefined);
});

test("a released address rests; the other half lends before, and only then the one that rested longest is given", () => {
  const [own, other] = ["9.0.1.0/29", "9.0.1.8/30"];
  const all = ["9.0.1.2", "9.0.1.3", "9.0.1.4", "9.0.1.5", "9.0.1.6"];
  const ledger = ledgerWith(all);
  ledger.release(leaseOf(ip("9.0.1.4")), 1_000);
  ledger.release(leaseOf(ip("9.0.1.2")), 2_000);
  assert.equal(picked([own, other], ledger, 3_000), "9.0.1.10");
  ledger.hold(leaseOf(ip("9.0.1.10")));
  const early = pickAddress([cidr(own), cidr(other)], ledger, 3_000);
  assert.deepEqual(early, { address: "9.0.1.4", half: own, isEarly: true });
  assert.deepEqual(ledger.wake(1_000 + ADDRESS_REST_MS), ["9.0.1.4"]);
  assert.deepEqual([...ledger.taken(cidr(own), 1_000 + ADDRESS_REST_MS).resting], ["9.0.1.2"]);
  assert.equal(pickAddress([cidr(own)], ledger, 2_000 + ADDRESS_REST_MS)?.isEarly, false);
});

test("addresses of another IPAM plugin are held, and do not rest after", () => {
  const ledger = new Ledger([], [], 0);
  const lease: Lease = { ...leaseOf(ip("9.0.1.2")), ipam: { type: "static", cniPath: [], args: "", config: "{}" } };
  ledger.hold(lease);
  assert.equal(picked(["9.0.1.0/29"], ledger), "9.0.1.3");
  ledger.release(lease, 0);
  assert.deepEqual(ledger.taken(cidr("9.0.1.0/29"), 0), { held: 0, resting: new Set(), last: "9.0.1.2" });
});

const HALVES: readonly Cidr[] = [cidr("9.0.1.0/28"), cidr("fd01:b::/125")];

test("whatever is taken and given back: nothing twice, nothing outside, all that there is, and rest before re-use", () => {
  const step = fc.record({ release: fc.option(fc.nat(20), { nil: undefined }), passes: fc.nat(ADDRESS_REST_MS) });
  fc.assert(
    fc.property(fc.constantFrom(...HALVES), fc.array(step, { maxLength: 60 }), (half, steps) => {
      const ledger = new Ledger([], [], 0);
      const held: Ip[] = [];
      const releasedAt = new Map<Ip, number>();
      let now = 0;
      for (const { release, passes } of steps) {
        now += passes;
        const given = release === undefined ? undefined : held.splice(release, 1)[0];
        if (given !== undefined) {
          ledger.release(leaseOf(given), now);
          releasedAt.set(given, now);
          continue;
        }
        const pick = pickAddress([half], ledger, now);
        if (pick === undefined) {
          assert.equal(BigInt(held.length), leasableCount(half), "refused only when all are held");
          continue;
        }
        assert(!held.includes(pick.address), `${pick.address} is free`);
        assert(isLeasable(half, pick.address));
        const rested = now - (releasedAt.get(pick.address) ?? Number.NEGATIVE_INFINITY) >= ADDRESS_REST_MS;
        assert.equal(pick.isEarly, !rested);
        ledger.hold(leaseOf(pick.address));
        ledger.gave(half, pick.address);
        held.push(pick.address);
      }
    }),
  );
});

test("the one that rested longest is given first, whichever half it is of", () => {
  const [own, other] = ["9.0.1.0/30", "9.0.1.4/30"].map(cidr);
  assert(own !== undefined && other !== undefined);
  const ledger = ledgerWith(["9.0.1.2", "9.0.1.6"]);
  ledger.release(leaseOf(ip("9.0.1.6")), 1_000);
  ledger.release(leaseOf(ip("9.0.1.2")), 2_000);
  assert.deepEqual(pickAddress([own, other], ledger, 3_000), { address: "9.0.1.6", half: other, isEarly: true });
});

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { SEED_ATTACHMENT } from "../../../test/support/seed-cluster.ts";
import type { Lease } from "../../model/attachment.ts";
import { isLeasable } from "../../model/half.ts";
import { cidr, familyOf, type Ip, ip } from "../../model/ip.ts";
import { ADDRESS_REST_MS } from "../../model/limits.ts";
import { Ledger } from "./ledger.ts";

/** Of one length and of others, one of them inside of none. */
const HALVES = ["9.0.1.0/29", "9.0.1.8/29", "9.0.2.0/30", "fd01:b::/125"].map(cidr);
/** Some of each half, gateways and broadcast addresses too, and some of nowhere. */
const ADDRESSES = ["9.0.1.", "9.0.2.", "fd01:b::", "192.168.7."].flatMap((start) =>
  Array.from({ length: start === "9.0.1." ? 16 : 6 }, (_, i) => ip(`${start}${i}`)),
);

function leaseOf(address: Ip, containerId = address as string): Lease {
  const { ip: _, ...rest } = SEED_ATTACHMENT;
  return { ...rest, containerId, ...(familyOf(address) === 4 ? { ip: address } : { ip6: address }) };
}

test("whatever is held and released: each half counts what a recount finds, whenever it is asked first", () => {
  const step = fc.record({
    address: fc.constantFrom(...ADDRESSES),
    passes: fc.nat(ADDRESS_REST_MS / 2),
    wakes: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.nat(60), (steps, askedAt) => {
      const ledger = new Ledger([], [], 0);
      const held = new Set<Ip>();
      const until = new Map<Ip, number>();
      let now = 0;
      const compare = () => {
        for (const half of HALVES) {
          const taken = ledger.taken(half, now);
          assert.equal(taken.held, [...held].filter((address) => isLeasable(half, address)).length, half);
          const resting = [...until].filter(([address, end]) => end > now && isLeasable(half, address));
          assert.deepEqual(
            [...taken.resting],
            resting.map(([address]) => address),
            half,
          );
        }
      };
      steps.forEach(({ address, passes, wakes }, i) => {
        now += passes;
        if (held.delete(address)) {
          ledger.release(leaseOf(address), now);
          until.set(address, now + ADDRESS_REST_MS);
        } else {
          ledger.hold(leaseOf(address));
          ledger.hold(leaseOf(address)); // a lease is saved more than once
          held.add(address);
          until.delete(address);
        }
        if (wakes) ledger.wake(now);
        if (i >= askedAt) compare();
      });
      compare();
    }),
  );
});

test("a half goes on behind what was held there last when the ledger was made", () => {
  const half = cidr("9.0.1.0/25");
  const ledger = new Ledger([], [leaseOf(ip("9.0.1.9")), leaseOf(ip("9.0.1.5")), leaseOf(ip("9.0.2.7"))], 0);
  assert.equal(ledger.taken(half, 0).last, "9.0.1.5");
  ledger.gave(half, ip("9.0.1.6"));
  ledger.hold(leaseOf(ip("9.0.1.77")));
  assert.equal(ledger.taken(half, 0).last, "9.0.1.6");
});

test("what rested when the ledger was made rests anew, in its order, and is forgotten after that", () => {
  const half = cidr("9.0.1.0/25");
  const ledger = new Ledger([ip("9.0.1.9"), ip("9.0.1.5"), ip("9.0.1.7")], [leaseOf(ip("9.0.1.5"))], 1_000);
  assert.deepEqual([...ledger.taken(half, 1_000).resting], ["9.0.1.9", "9.0.1.7"]);
  assert.deepEqual(ledger.wake(999 + ADDRESS_REST_MS), []);
  assert.deepEqual(ledger.wake(1_000 + ADDRESS_REST_MS), ["9.0.1.9", "9.0.1.7"]);
  assert.equal(ledger.taken(half, 1_000 + ADDRESS_REST_MS).resting.size, 0);
});

test("only who holds an address can release it", () => {
  const [address, half] = [ip("9.0.1.9"), cidr("9.0.1.0/25")];
  const ledger = new Ledger([], [leaseOf(address, "c1")], 0);
  ledger.release(leaseOf(address, "c2"), 0);
  assert.equal(ledger.holder(address)?.containerId, "c1");
  ledger.release(leaseOf(address, "c1"), 0);
  ledger.release(leaseOf(address, "c1"), 5_000);
  assert.deepEqual([ledger.holder(address), ledger.taken(half, 0).held], [undefined, 0]);
  assert.equal(ledger.restsUntil(address), ADDRESS_REST_MS);
});

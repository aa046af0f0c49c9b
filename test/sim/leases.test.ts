/**
 * Leases that cannot leak: random interleavings of calls, deaths, reboots, full disks, clock jumps and losses, on the fake
 * kernel. After each step no address has two holders, what a runtime was told is whole, and nothing else is there.
 *
 * The seed is in the test's name; the same one replays the same history: `WEFT_LEASE_SEED=7 WEFT_LEASE_STEPS=1000000 npm
 * test -- test/sim/leases.test.ts` is also the long soak. The controls at the end break one thing each; all are found.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { cidr } from "../../src/model/ip.ts";
import { leaseFailure } from "../support/lease-history.ts";
import { fakeLeaseMachine } from "../support/lease-machine.ts";
import type { Flaws } from "../support/lease-world.ts";

const SEED = Number(process.env.WEFT_LEASE_SEED ?? Date.now() % 100_000);
const STEPS = Number(process.env.WEFT_LEASE_STEPS ?? 10_000);
/** Then every container is detached, and the host must be as it was at first. */
const STEPS_A_LIFE = 50;
test(`no history leaks a lease or gives an address twice (seed ${SEED}, ${STEPS} steps)`, async () => {
  for (let life = 0; life * STEPS_A_LIFE < STEPS; life++)
    assert.equal(await leaseFailure(fakeLeaseMachine(), SEED + life, STEPS_A_LIFE), undefined);
});

/** What failed while the named bug was there, by seed. */
const ONCE_FAILED = {
  1: "a pass waited for a DEL that waited for the pass",
  2087: "a pass left the second interface of a container that it had just seen to",
} as const;

for (const [seed, what] of Object.entries(ONCE_FAILED))
  test(`seed ${seed} holds: ${what}`, async () => {
    assert.equal(await leaseFailure(fakeLeaseMachine(), Number(seed), STEPS_A_LIFE), undefined);
  });

const FLAWS: Readonly<Record<string, Flaws>> = {
  "a store that forgets what was attached": {
    store: (store) => ({
      ...store,
      putLease: (lease) => {
        if (lease.state === "pending") store.putLease(lease);
      },
    }),
  },
  "a store that keeps what was detached": { store: (store) => ({ ...store, deleteLease: () => {} }) },
  "a kernel that tells no namespace from another": {
    kernel: (kernel) => ({
      ...kernel,
      apply: (ops) => kernel.apply(ops),
      observe: (paths) => kernel.observe(paths),
      watch: (onChange) => kernel.watch(onChange),
      features: () => kernel.features(),
      close: () => kernel.close(),
      enter: async (path) => {
        const inside = await kernel.enter(path);
        Object.defineProperty(inside, "netnsId", { value: "the same" });
        return inside;
      },
    }),
  },
  "an agent that gives of what is draining": { slices: (slices) => slices.map(({ subnet }) => ({ subnet })) },
  "an agent that sees too many slices": { slices: () => [{ subnet: cidr("10.8.0.16/28") }] },
  "runtimes that are taken for one": {
    call: (call) => ({ ...call, environment: { ...call.environment, CNI_WEFT_RUNTIME: "any" } }),
  },
};

for (const [what, flaws] of Object.entries(FLAWS))
  test(`control: ${what} is found`, async () => {
    for (let seed = 1; seed <= 20; seed++)
      if ((await leaseFailure(fakeLeaseMachine(), seed, STEPS_A_LIFE, flaws)) !== undefined) return;
    assert.fail("20 histories found nothing");
  });

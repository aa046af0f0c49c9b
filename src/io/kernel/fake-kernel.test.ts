/** What the fake offers beyond the port: faults on order, death on order, containers that end. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { SEED_ATTACHMENT, seedContext } from "../../../test/support/seed-cluster.ts";
import type { KernelOp } from "../../core/host/host-state.ts";
import { attachOps } from "../../core/overlay/attach.ts";
import { FakeMachine, Killed } from "./fake-kernel.ts";

const bridge = (name: string): KernelOp => ({ op: "link.add", link: { kind: "bridge", name, up: true } });

async function linkNames(machine: FakeMachine): Promise<string[]> {
  return (await machine.kernel().observe([])).links.map(({ name }) => name);
}

test("the operation that a test chose is refused, wherever on the machine it comes", async () => {
  const machine = new FakeMachine();
  machine.newNetns("/run/netns/c1");
  const inside = await machine.kernel().enter("/run/netns/c1");
  machine.failOp(2, "ENOMEM");
  await machine.kernel().apply([bridge("a")]);
  const failures = await inside.apply([bridge("b"), bridge("c"), bridge("d")]);
  assert.deepEqual(
    failures.map(({ index, error }) => [index, error.code]),
    [[1, "ENOMEM"]],
  );
});

test("a program that dies leaves what it did, and the next one goes on from there", async () => {
  const machine = new FakeMachine();
  machine.dieAfter(1);
  await assert.rejects(machine.kernel().apply([bridge("a"), bridge("b")]), Killed);
  assert.deepEqual(await linkNames(machine), ["lo", "a"]);
  assert.deepEqual(await machine.kernel().apply([bridge("b")]), []);
});

test("a container that ends takes its pair with it and the host's watchers hear of it", async () => {
  const machine = new FakeMachine();
  machine.newNetns(SEED_ATTACHMENT.netns);
  const kernel = machine.kernel();
  const attach = attachOps(SEED_ATTACHMENT, [], { ...seedContext(1), features: { ingressForward: false } });
  // The gateway is held by a bridge of the host, the chain jumps to another, the tunnel has a datapath: none is there.
  const failures = await kernel.apply(attach);
  assert.deepEqual(
    failures.map(({ op, error }) => [op.op, error.code]),
    [
      ["datapath.remove", "ENODEV"],
      ["nft.chain.replace", "ENOENT"],
      ["route.replace", "EINVAL"],
    ],
  );
  const heard = new Promise((resolve) => kernel.watch(({ kind }) => resolve(kind)));
  machine.deleteNetns(SEED_ATTACHMENT.netns);
  assert.equal(await heard, "link");
  assert.deepEqual(await linkNames(machine), ["lo"]);
  assert.match(kernel.dump(), /^link lo/);
});

test("after a reboot nothing is left, and a namespace at the same path is another one", async () => {
  const machine = new FakeMachine();
  const identity = async () => {
    machine.newNetns("/run/netns/c1");
    return (await machine.kernel().enter("/run/netns/c1")).netnsId;
  };
  const before = await identity();
  await machine.kernel().apply([bridge("a")]);
  machine.reboot();
  assert.deepEqual(await linkNames(machine), ["lo"]);
  assert.notEqual(await identity(), before);
});

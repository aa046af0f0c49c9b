/**
 * Rules of ours in another firewall's chains: they are at the head, whoever else is there stays, and what empties or
 * restores a chain is seen.
 */
import assert from "node:assert/strict";
import { diff } from "../../src/core/host/diff.ts";
import {
  EMPTY_HOST_STATE,
  type KernelOp,
  type NftChain,
  type NftRule,
  type NftStatement,
  type NftTable,
  type Passage,
} from "../../src/core/host/host-state.ts";
import { passages } from "../../src/core/overlay/passages.ts";
import type { Kernel } from "../../src/io/ports.ts";
import { seedContext } from "../support/seed-cluster.ts";
import { done, refused, type Test } from "./kernel-contract-objects.ts";

const counted = (...rule: NftStatement[]): NftRule => [{ kind: "counter" }, ...rule];
const TO_USERS = counted({ kind: "jump", chain: "DOCKER-USER" });
const LEAVE = counted({ kind: "return" });
/** Of somebody else's, and looking much like ours. */
const ALIKE: NftRule = [{ kind: "oifname", device: "weft*" }, { kind: "counter" }, { kind: "accept" }];

const forward = (...rules: NftRule[]): NftChain => ({
  name: "FORWARD",
  hook: { type: "filter", hook: "forward", priority: 0, policy: "drop" },
  rules,
});
const users = (...rules: NftRule[]): NftChain => ({ name: "DOCKER-USER", rules });
const filter = (family: Passage["family"], ...chains: NftChain[]): NftTable => ({
  family,
  name: "filter",
  chains,
  maps: [],
});

export function passageTests(test: Test): void {
  for (const family of ["ip", "ip6"] as const) {
    const write = (kernel: Kernel, ...chains: NftChain[]) =>
      done(kernel, [{ op: "nft.table.replace", table: filter(family, ...chains) }]);
    const replace = (chain: NftChain): KernelOp => ({ op: "nft.chain.replace", family, table: "filter", chain });
    const context = { ...seedContext(1), facts: { ...seedContext(1).facts, uplinks: ["eth0", "wg0"] } };
    const want = async (kernel: Kernel): Promise<KernelOp[]> => {
      const observed = await kernel.observe([]);
      return diff(observed, { ...EMPTY_HOST_STATE, passages: passages(context, observed.passages) });
    };
    const read = async (kernel: Kernel, chain: Passage["chain"]) =>
      (await kernel.observe([])).passages.find((each) => each.family === family && each.chain === chain)?.rules;
    const ours = passages(context, [{ family, chain: "DOCKER-USER", rules: [], isAsked: true }])[0]?.rules ?? [];

    test(`${family}: nothing is wanted where there is no chain for others`, async ({ kernel }) => {
      assert.deepEqual(await want(kernel), []);
      await write(kernel, forward(LEAVE));
      assert.deepEqual(await want(kernel), []);
      assert.deepEqual((await kernel.observe([])).tables, []);
    });

    test(`${family}: ours are put before the others, once, and taken away alone`, async ({ kernel }) => {
      await write(kernel, users(ALIKE, LEAVE), forward(TO_USERS));
      const ops = await want(kernel);
      assert.deepEqual(
        ops.map(({ op }) => op),
        ["nft.passage.replace"],
      );
      await done(kernel, ops);
      assert.deepEqual(await want(kernel), []);
      assert.deepEqual(await read(kernel, "DOCKER-USER"), ours);
      assert.deepEqual(await read(kernel, "FORWARD"), []);
      await done(kernel, diff(await kernel.observe([]), EMPTY_HOST_STATE));
      assert.deepEqual(await read(kernel, "DOCKER-USER"), []);
      // What is left is what was there, or this would say that the chain is in use.
      await refused(kernel, { op: "nft.chain.delete", family, table: "filter", chain: "DOCKER-USER" }, "EBUSY");
    });

    test(`${family}: what somebody puts before ours goes behind, and what is lost is put back`, async ({ kernel }) => {
      await write(kernel, users(ALIKE, ...ours), forward(TO_USERS));
      assert.deepEqual(await read(kernel, "DOCKER-USER"), [ALIKE, ...ours]);
      await done(kernel, await want(kernel));
      assert.deepEqual(await read(kernel, "DOCKER-USER"), ours);
      await done(kernel, [replace(users(...ours.slice(1), LEAVE))]);
      await done(kernel, await want(kernel));
      assert.deepEqual(await read(kernel, "DOCKER-USER"), ours);
      await done(kernel, [replace(users())]);
      await done(kernel, await want(kernel));
      assert.deepEqual(await want(kernel), []);
    });

    test(`${family}: where all rules were flushed, ours stand in the way itself until Docker is back`, async ({
      kernel,
    }) => {
      await write(kernel, users(), forward());
      await done(kernel, await want(kernel));
      assert.deepEqual(await read(kernel, "FORWARD"), ours);
      assert.deepEqual(await read(kernel, "DOCKER-USER"), []);
      await done(kernel, [replace(forward(TO_USERS, ...ours))]);
      await done(kernel, await want(kernel));
      assert.deepEqual([await read(kernel, "FORWARD"), await read(kernel, "DOCKER-USER")], [[], ours]);
      assert.deepEqual(await want(kernel), []);
    });

    test(`${family}: without a chain for others ours are before Docker's own`, async ({ kernel }) => {
      const docker: NftChain = { name: "DOCKER", rules: [] };
      const toDocker = counted({ kind: "jump", chain: "DOCKER" });
      await write(kernel, docker, forward(toDocker));
      await done(kernel, await want(kernel));
      assert.deepEqual(await read(kernel, "FORWARD"), ours);
      await done(kernel, [replace(forward(toDocker, ...ours))]);
      await done(kernel, await want(kernel));
      assert.deepEqual(await read(kernel, "FORWARD"), ours);
      assert.deepEqual(await want(kernel), []);
    });

    test(`${family}: a chain that is gone meanwhile is told`, async ({ kernel }) => {
      const passage: Passage = { family, chain: "DOCKER-USER", rules: ours };
      await refused(kernel, { op: "nft.passage.replace", passage }, "ENOENT");
      await write(kernel, forward());
      await refused(kernel, { op: "nft.passage.replace", passage }, "ENOENT");
    });
  }
}

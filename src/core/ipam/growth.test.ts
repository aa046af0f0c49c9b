import assert from "node:assert/strict";
import { test } from "node:test";
import { type AgentOverlay, type HalfUsage, halvesOf, type Slice } from "../../model/cluster.ts";
import { cidr } from "../../model/ip.ts";
import { SLICES_MAX } from "../../model/limits.ts";
import type { Overlay } from "../../model/network.ts";
import { type GrowthQuestion, isUpToDate, type SliceChange, sliceChanges } from "./growth.ts";
import { agentOverlay, withoutSlice } from "./slices.ts";

const INFO: Overlay = { name: "dcos", subnet: cidr("9.0.0.0/24"), prefix: 27, enabled: true };
const BOTH = { mesosBridge: true, dockerBridge: true };
const slice = (n: number, more: Partial<Slice> = {}): Slice => ({ subnet: cidr(`9.0.0.${n * 32}/27`), ...more });

/** What an agent tells of its slices: how many addresses of each are held, and which have been empty for long. */
function usageOf(overlay: AgentOverlay, held: Readonly<Record<string, number>>, idle: readonly string[] = []) {
  const size = 13;
  const seen = new Set<string>();
  return (["mesos", "docker"] as const).flatMap((name) =>
    halvesOf(overlay, name).map(({ half, slice, draining }): HalfUsage => {
      const wanted = held[slice] ?? 0;
      const used = seen.has(slice) ? Math.max(0, wanted - size) : Math.min(size, wanted);
      seen.add(slice);
      return {
        half,
        slice,
        runtime: name === "mesos" ? "cni" : "docker",
        used,
        resting: 0,
        free: size - used,
        ...(draining && { draining }),
        ...(idle.includes(slice) && { idle: true as const }),
      };
    }),
  );
}

function asked(
  slices: readonly Slice[],
  held: Readonly<Record<string, number>>,
  more: Partial<GrowthQuestion> & { idle?: readonly string[] } = {},
): readonly SliceChange[] {
  const { idle = [], info = INFO, ...question } = more;
  const overlay = agentOverlay(info, slices, BOTH);
  const usage = usageOf(overlay, held, idle);
  return sliceChanges({ overlay, info, usage, threshold: 0.8, enableIpv6: true, prefixes: 1, ...question });
}

const [A, B, C] = ["9.0.0.0/27", "9.0.0.32/27", "9.0.0.64/27"] as const;
const GROW: SliceChange = { type: "grow", network: "dcos", family: 4 };
const of = (type: "drain" | "resume" | "remove", name: string): SliceChange => ({
  type,
  network: "dcos",
  slice: cidr(name),
});

test("an agent grows from the threshold on, counting all that is open", () => {
  assert.deepEqual(asked([slice(0)], { [A]: 20 }), []);
  assert.deepEqual(asked([slice(0)], { [A]: 21 }), [GROW]);
  assert.deepEqual(asked([slice(0), slice(1)], { [A]: 26, [B]: 15 }), []);
  assert.deepEqual(asked([slice(0), slice(1)], { [A]: 26, [B]: 16 }), [GROW]);
  assert.deepEqual(
    asked([slice(0)], { [A]: 13 }, { info: { ...INFO, strictHalves: true } }),
    [GROW],
    "one half counts",
  );
  assert.deepEqual(asked([slice(0)], { [A]: 26 }, { threshold: undefined }), []);
  assert.deepEqual(asked([slice(0)], { [A]: 26 }, { info: { ...INFO, enabled: false } }), []);
  assert.deepEqual(asked([slice(0)], { [A]: 26 }, { prefixes: 10_000 }), [], "there is an end to it");
  const many = Array.from({ length: SLICES_MAX + 1 }, () => slice(0));
  assert.deepEqual(asked(many, { [A]: 26 }), []);
});

test("nothing is decided by the word of an agent that does not know its record", () => {
  const overlay = agentOverlay(INFO, [slice(0), slice(1)], BOTH);
  const behind = usageOf(agentOverlay(INFO, [slice(0)], BOTH), { [A]: 26 });
  assert.deepEqual(asked([slice(0), slice(1)], {}, { usage: behind }), []);
  assert.ok(!isUpToDate(overlay, behind, true));
  const unaware = usageOf(overlay, { [A]: 1 });
  const draining = agentOverlay(INFO, [slice(0), slice(1, { draining: true })], BOTH);
  assert.ok(!isUpToDate(draining, unaware, true), "it may still lease of it");
  assert.deepEqual(asked([slice(0), slice(1, { draining: true })], {}, { usage: unaware }), []);
});

test("a further slice goes in steps, and only when the others have room to spare", () => {
  const two = [slice(0), slice(1)];
  assert.deepEqual(asked(two, { [A]: 15 }), [], "not empty for long enough");
  assert.deepEqual(asked(two, { [A]: 15 }, { idle: [B] }), [of("drain", B)]);
  assert.deepEqual(asked(two, { [A]: 16 }, { idle: [B] }), [], "it would be wanted again soon");
  assert.deepEqual(asked(two, { [B]: 3 }, { idle: [A] }), [], "the first one stays");
  assert.deepEqual(asked([...two, slice(2)], {}, { idle: [A, B, C] }), [of("drain", C)], "one at a time");
  const going = [slice(0), slice(1, { draining: true })];
  assert.deepEqual(asked(going, { [A]: 15, [B]: 1 }), [], "somebody has an address of it");
  assert.deepEqual(asked(going, { [A]: 15 }), [of("remove", B)]);
  assert.deepEqual(asked(going, { [A]: 22, [B]: 1 }), [of("resume", B)], "it is there at once");
});

test("what lies in a space that is draining is replaced, drained and given back; the first slice too", () => {
  const info: Overlay = { ...INFO, draining: true, more: [{ subnet: cidr("9.1.0.0/24"), prefix: 27 }] };
  const fresh = { subnet: cidr("9.1.0.0/27") };
  assert.deepEqual(asked([slice(0)], { [A]: 3 }, { info }), [GROW]);
  assert.deepEqual(asked([slice(0)], { [A]: 3 }, { info, threshold: undefined }), [GROW], "elastic or not");
  assert.deepEqual(asked([slice(0), fresh], { [A]: 3 }, { info }), [of("drain", A)]);
  const going = [slice(0, { draining: true }), fresh];
  assert.deepEqual(asked(going, { [A]: 3 }, { info }), []);
  assert.deepEqual(asked(going, { [A]: 3, [fresh.subnet]: 26 }, { info }), [GROW], "not back into the old space");
  assert.deepEqual(asked(going, {}, { info }), [of("remove", A)]);
});

test("a slice with both families waits until each has another home", () => {
  const info: Overlay = {
    name: "dcos",
    subnet: cidr("9.0.0.0/24"),
    prefix: 27,
    subnet6: cidr("fd01:b::/64"),
    prefix6: 80,
    enabled: true,
    draining: true,
    more: [{ subnet: cidr("9.1.0.0/24"), prefix: 27, subnet6: cidr("fd01:c::/64"), prefix6: 80 }],
  };
  const old = slice(0, { subnet6: cidr("fd01:b::/80") });
  const [four, six] = [{ subnet: cidr("9.1.0.0/27") }, { subnet6: cidr("fd01:c::/80") }];
  assert.deepEqual(asked([old], {}, { info }), [GROW, { ...GROW, family: 6 }]);
  assert.deepEqual(asked([old, four], {}, { info }), [{ ...GROW, family: 6 }]);
  assert.deepEqual(asked([old, four, six], {}, { info }), [of("drain", A)]);
  assert.deepEqual(withoutSlice([old, four, six], old), [{ ...four, ...six }], "the new first slice has both");
  assert.deepEqual(withoutSlice([old, { ...four, ...six }, slice(5)], old), [{ ...four, ...six }, slice(5)]);
});

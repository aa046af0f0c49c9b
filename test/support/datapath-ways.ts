/**
 * One pair of hosts for many tests, and which way their packets have to take: the level and the hook say it.
 */
import assert from "node:assert/strict";
import { after, before } from "node:test";
import type { DatapathFeature, DatapathPath } from "../../src/core/host/datapath.ts";
import type { DatapathLevel } from "../../src/core/overlay/datapath.ts";
import type { HookName } from "../../src/io/kernel/bpf/hooks.ts";
import type { Family } from "../../src/model/ip.ts";
import { type LabHost, openHosts } from "./datapath-hosts.ts";

/** To another host, from another host, and to a container of the same one. */
export type Way = "out" | "in" | "same";

export interface Ways {
  readonly level: DatapathLevel;
  /** Of all programs; absent: as the product chooses for each. */
  readonly hook?: HookName;
  readonly feature: DatapathFeature;
  /** While tests run. */
  hosts(): readonly [LabHost, LabHost];
  /** How the programs carry packets; `undefined` at level 0, where there are none. */
  path(way: Way, family: Family): DatapathPath | undefined;
  /** Fails unless packets were counted on these ways, at least so many together, and on no other. */
  took(seen: Partial<Record<DatapathPath, number>>, ways: readonly Way[], family: Family, atLeast: number): void;
}

/** Opens the hosts before the tests of a suite, and removes them after. */
export function openWays(level: DatapathLevel, hook: HookName | undefined, feature: DatapathFeature): Ways {
  const ends: (() => unknown)[] = [];
  let hosts: readonly [LabHost, LabHost] | undefined;
  before(async () => {
    hosts = await openHosts({ after: (end) => void ends.push(end as () => unknown) }, level);
  });
  after(async () => {
    for (const end of ends.reverse()) await end();
  });
  const path = (way: Way, family: Family): DatapathPath | undefined => {
    if (level === 0) return undefined;
    if (way === "same") return "same-host";
    const isReceivedByKernel = way === "in" && family === 6 && !("hook" in feature && feature.decapsulatesIpv6);
    return level === 1 || isReceivedByKernel ? "tunnel" : "encapsulated";
  };
  return {
    level,
    ...(hook !== undefined && { hook }),
    feature,
    hosts: () => hosts ?? assert.fail("the hosts are open"),
    path,
    took(seen, ways, family, atLeast) {
      // Containers look for routers and tell of multicast groups on their own.
      const { "not-ip": _, ...packets } = seen;
      const expected = new Set(ways.flatMap((way) => path(way, family) ?? []));
      assert.deepEqual(new Set(Object.keys(packets)), expected, "the ways that packets took");
      const sum = Object.values(packets).reduce((all, n) => all + n, 0);
      assert.ok(level === 0 || sum >= atLeast, `${sum} packets were counted`);
    },
  };
}

/**
 * The datapath as its users meet it: two hosts, real agents, connections that live while levels change, agents die and
 * somebody else takes programs away. Each step looks at what the programs counted, so that nothing passes by the slow way
 * unnoticed.
 */
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import type { z } from "zod";
import type { trafficSchema } from "../../src/app/agent/datapath-routes.ts";
import { callCni } from "../../src/app/demo/runtime.ts";
import { waitFor } from "../../src/app/demo/wait.ts";
import type { DatapathPath } from "../../src/core/host/datapath.ts";
import { type Flows, startFlows } from "../support/flows.ts";
import { labOrReason } from "../support/lab.ts";
import {
  agentOf,
  type Cluster,
  createCluster,
  hostOf,
  startContainer,
  type TestContainer,
  weft,
} from "../support/lab-cluster.ts";

const skip = await labOrReason();

/** The matrix sets it for all others. */
delete process.env.WEFT_DATAPATH_LEVEL;
const HOOK = process.env.WEFT_DATAPATH_HOOK ?? "tcx";
const BPF_CALLS = new URL("../../src/io/kernel/bpf/bpf-calls.ts", import.meta.url).href;
const CHANGED_MS = 10_000;

describe("datapath", { skip }, () => {
  let cluster: Cluster;
  let near: TestContainer;
  let far: TestContainer;
  let beside: TestContainer;
  let flows: Flows;

  before(async () => {
    cluster = await createCluster({ hosts: 2 });
    near = await startContainer(cluster, 1, "near", ["dcos", "dcos6"]);
    beside = await startContainer(cluster, 1, "beside", ["dcos", "dcos6"]);
    far = await startContainer(cluster, 2, "far", ["dcos", "dcos6"]);
    flows = await startFlows(near.netns, far.netns, [far.ip, far.ip6]);
  });

  const traffic = async (host: number) =>
    (await agentOf(cluster, host).get("/v1/traffic")) as z.infer<typeof trafficSchema>;

  /** What grew on a host while the flows went on. */
  async function grown(host: number): Promise<ReadonlySet<DatapathPath>> {
    const first = (await traffic(host)).paths;
    await flows.live();
    const paths = Object.entries((await traffic(host)).paths) as [DatapathPath, { packets: number }][];
    return new Set(
      paths.filter(([path, { packets }]) => packets > (first[path]?.packets ?? 0) + 10).map(([path]) => path),
    );
  }

  async function isAt(host: number, level: number): Promise<void> {
    await waitFor(`level ${level}`, CHANGED_MS, async () =>
      (await traffic(host)).datapath.level === level ? true : undefined,
    );
  }

  const restart = async (host: number, level: string, signal: NodeJS.Signals = "SIGTERM") => {
    process.env.WEFT_DATAPATH_LEVEL = level;
    await agentOf(cluster, host).stop(signal);
    await agentOf(cluster, host).start();
    await agentOf(cluster, host).ready();
    await isAt(host, Number(level));
  };

  /** The numbers that the kernel gave to the programs on the host's devices. */
  async function programs(host: number): Promise<string> {
    const script = `
      const { queryTcx } = await import("${BPF_CALLS}");
      for (let ifindex = 1; ifindex < 100; ifindex++) for (const id of queryTcx(ifindex)) console.log(ifindex, id);`;
    const byTcx = await hostOf(cluster.lab, host).mustRun(process.execPath, ["--input-type=module", "-e", script]);
    const filters = "for d in $(ip -o link | sed 's/^[0-9]*: //; s/[:@].*//'); do tc filter show dev $d ingress; done";
    const all = byTcx + (await hostOf(cluster.lab, host).mustRun("sh", ["-c", filters]));
    assert.notEqual(all, "");
    return all;
  }

  test("both hosts are at level 2, and say so", async () => {
    for (const host of [1, 2]) {
      const { datapath } = await traffic(host);
      assert.deepEqual(datapath, { level: 2, reasons: [], notes: [] });
    }
    const status = await weft(["status", "--master", cluster.master.address]);
    assert.match(status.stdout, /^datapath level 2 on 2 hosts$/m);
  });

  test("packets of both families take it, across hosts and on one", async () => {
    // Before TCX, IPv6 is received by way of the VXLAN device.
    const expected: DatapathPath[] = HOOK === "tcx" ? ["encapsulated"] : ["encapsulated", "tunnel"];
    for (const host of [1, 2]) assert.deepEqual([...(await grown(host))].sort(), expected);
    const first = (await traffic(1)).paths["same-host"]?.packets ?? 0;
    for (const to of [beside.ip, beside.ip6]) assert.notEqual(await near.probe.ask(to), "", "answers");
    assert.ok(((await traffic(1)).paths["same-host"]?.packets ?? 0) > first);
  });

  test("a pair is counted by its addresses", async () => {
    await flows.live();
    const { pairs } = await traffic(1);
    for (const [source, destination] of [
      [near.ip, far.ip],
      [far.ip, near.ip],
      [near.ip6, far.ip6],
    ])
      assert.ok(
        pairs.some((pair) => pair.source === source && pair.destination === destination && pair.packets > 0),
        `${source} → ${destination}`,
      );
  });

  test("an agent that is killed leaves it as it is, and takes it up again", async () => {
    const there = await programs(1);
    await agentOf(cluster, 1).stop("SIGKILL");
    await flows.live();
    assert.equal(await programs(1), there, "while it is away");
    const counted = (await traffic(2)).paths.encapsulated?.packets ?? 0;
    await flows.live();
    assert.ok(((await traffic(2)).paths.encapsulated?.packets ?? 0) > counted, "packets take it meanwhile");
    await agentOf(cluster, 1).start();
    await agentOf(cluster, 1).ready();
    assert.equal(await programs(1), there, "the same programs, by their numbers");
    assert.ok((await grown(1)).has("encapsulated"));
  });

  test("each level carries what the others began, also with another level at the other end", async () => {
    const expected: Readonly<Record<string, readonly DatapathPath[]>> = { 0: [], 1: ["tunnel"] };
    for (const level of ["1", "0", "2", "0", "1", "2"]) {
      await restart(1, level, level === "1" ? "SIGKILL" : "SIGTERM");
      const paths = [...(await grown(1))].sort();
      if (level in expected) assert.deepEqual(paths, expected[level], `at level ${level}`);
      else assert.ok(paths.includes("encapsulated"), `at level ${level}`);
      assert.deepEqual((await grown(2)).has("encapsulated"), true, "the other end stays as it is");
    }
    delete process.env.WEFT_DATAPATH_LEVEL;
  });

  test("somebody takes a program away, or a map's device: it is mended, and nothing is lost", async () => {
    const host = hostOf(cluster.lab, 1);
    const detach = `
      const calls = await import("${BPF_CALLS}");
      for (let ifindex = 2; ifindex < 100; ifindex++)
        for (const id of calls.queryTcx(ifindex)) calls.detachTcx(ifindex, calls.programById(id));`;
    if (HOOK === "tcx") {
      await host.mustRun(process.execPath, ["--input-type=module", "-e", detach]);
      await flows.live();
    }
    await host.mustRun("ip", ["link", "delete", "vtep1024"]);
    await waitFor("the tunnel and its program to come back", CHANGED_MS, async () =>
      (await grown(1)).has("encapsulated") ? true : undefined,
    );
    await flows.live();
  });

  test("a packet that is sampled says how it went", async () => {
    type Answer = { flows: { source: string; path: string; protocol: number }[]; next: number };
    const ask = async (after: number) => (await agentOf(cluster, 1).get(`/v1/flows?every=1&after=${after}`)) as Answer;
    let after = (await ask(0)).next;
    const seen = await waitFor("samples", CHANGED_MS, async () => {
      await flows.live();
      const answer = await ask(after);
      after = answer.next;
      return answer.flows.length > 0 ? answer.flows : undefined;
    });
    assert.ok(
      seen.some(({ source, path, protocol }) => source === near.ip && path === "encapsulated" && protocol === 6),
    );
  });

  test("a container that goes leaves nothing in the maps", async () => {
    const gone = await startContainer(cluster, 1, "gone", ["dcos"]);
    await waitFor("programs to carry what it sends", CHANGED_MS, async () => {
      assert.equal(await gone.probe.ask(far.ip), gone.ip);
      const { pairs } = await traffic(1);
      return pairs.some(({ source, path }) => source === gone.ip && path === "encapsulated") ? true : undefined;
    });
    const ref = { containerId: gone.containerId, netns: gone.netns.path, ifname: "eth0" };
    assert.equal((await callCni(agentOf(cluster, 1), "DEL", "dcos", ref)).status, 0);
    // A program that still had the address would send the packet to nobody.
    const before = (await traffic(1)).paths;
    assert.match(await near.probe.ask(gone.ip), /EHOSTUNREACH|no answer/);
    const { "same-host": sent, outside } = (await traffic(1)).paths;
    assert.equal(sent?.packets, before["same-host"]?.packets);
    assert.ok((outside?.packets ?? 0) > (before.outside?.packets ?? 0), "the kernel was left to refuse it");
    assert.equal(await near.probe.ask(far.ip), near.ip);
  });

  test("no connection was lost, and none began anew", async () => {
    assert.deepEqual(await flows.stop(), { lost: 0 });
  });
});

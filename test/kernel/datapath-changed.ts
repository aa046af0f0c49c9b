/**
 * The datapath changes under connections that are in use, and none is lost: programs go and come back, others take their
 * places, levels change. For datapath-paths*.test.ts.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import type { Socket } from "node:net";
import { it, type TestContext } from "node:test";
import type { DatapathFeature } from "../../src/core/host/datapath.ts";
import type { DatapathLevel } from "../../src/core/overlay/datapath.ts";
import { hasTcx } from "../../src/io/kernel/bpf/bpf-calls.ts";
import type { HookName } from "../../src/io/kernel/bpf/hooks.ts";
import { datapathObject } from "../../src/io/kernel/bpf/object.ts";
import { useHook } from "../../src/io/kernel/kernel-sockets.ts";
import type { Family } from "../../src/model/ip.ts";
import { counted, type LabContainer, type LabHost } from "../support/datapath-hosts.ts";
import { RunningFlows } from "../support/datapath-running.ts";
import type { Ways } from "../support/datapath-ways.ts";
import { connectTcp, listenTcp } from "../support/flow-sockets.ts";
import { SERVICE, SERVICE_PORT, stateless, translate } from "./datapath-translated.ts";

const FAMILIES = [4, 6] as const;
const PORT = 6_000;
const CONNECTS_MS = 5_000;
/** Of programs of another version. */
const OTHER_DIGEST = "0badc0de";

export function changeTests(ways: Ways): void {
  if (ways.level === 0) return;
  for (const family of FAMILIES) {
    detachTests(ways, family);
    replaceTests(ways, family);
    idleTests(ways, family);
    hookTests(ways, family);
  }
}

function start(t: TestContext, [one, two]: readonly [LabHost, LabHost], family: Family): readonly RunningFlows[] {
  const [from, neighbor] = one.containers;
  const flows = [two.containers[0], neighbor].map(
    (to, i) => new RunningFlows({ from, to, family, port: PORT + i * 10 }),
  );
  t.after(() => {
    for (const flow of flows) flow.stop();
  });
  return flows;
}

async function allGoOn(flows: readonly RunningFlows[], when: string): Promise<void> {
  await Promise.all(flows.map((flow) => flow.goesOn(when)));
}

function detachTests({ hosts, level, path }: Ways, family: Family): void {
  it(`IPv${family}: all programs are taken away and come back, and no connection is lost`, async (t) => {
    const both = hosts();
    const atLevel = async (maxLevel: DatapathLevel) => {
      for (const host of both) await host.pass({ datapath: { maxLevel, sampleEvery: 0 } });
    };
    t.after(() => atLevel(level));
    const flows = start(t, both, family);
    await allGoOn(flows, "by programs");
    for (let turn = 0; turn < 2; turn++) {
      await atLevel(0);
      await allGoOn(flows, "without programs");
      for (const { netns } of both) assert.equal(await netns.kernel.traffic(), undefined);
      await atLevel(level === 2 ? 1 : 2);
      await allGoOn(flows, "at another level");
      await atLevel(level);
      const seen = await counted(both[0], () => allGoOn(flows, "by programs again"));
      const ways = [path("out", family), path("same", family)];
      for (const way of ways) assert.ok(way !== undefined && (seen[way] ?? 0) > 0, `${way} is taken again`);
    }
    for (const flow of flows) flow.end();
  });
}

/** As a process of another version would have it, until the test ends or the result is called. */
async function otherVersion(t: TestContext, hosts: readonly LabHost[], feature: DatapathFeature) {
  const object = datapathObject() as { digest: string };
  const own = object.digest;
  const become = async (code: string) => {
    object.digest = code;
    for (const host of hosts) {
      await host.restart();
      await host.pass({ features: { ...host.context.features, datapath: { ...feature, code } as DatapathFeature } });
    }
  };
  const back = async () => {
    if (object.digest !== own) await become(own);
  };
  t.after(back);
  await become(OTHER_DIGEST);
  return back;
}

/** A connection to the service over which nobody has said anything yet but the client. */
async function idleConnection(t: TestContext, client: LabContainer, backend: LabContainer, family: Family) {
  const accepted = Promise.withResolvers<Socket>();
  const port = SERVICE_PORT + 1;
  const server = listenTcp(backend.netns, backend.address[family], port, accepted.resolve);
  const connection = connectTcp(client.netns, client.address[family], SERVICE[family], port, CONNECTS_MS);
  t.after(() => {
    connection.destroy();
    server.close();
  });
  const other = await accepted.promise;
  t.after(() => other.destroy());
  return {
    /** Says something from the backend's side, and waits until the client has it. */
    async answers(what: string): Promise<void> {
      const heard = once(connection, "data");
      other.write(what);
      assert.equal(String((await heard)[0]), what);
    },
  };
}

function idleTests({ hosts, feature }: Ways, family: Family): void {
  it(`IPv${family}: the answer that comes first after programs of another version took over is translated back`, async (t) => {
    const [one, two] = hosts();
    const [client] = one.containers;
    t.after(() => one.pass({ services: [] }));
    await one.pass({ services: [SERVICE[family]] });
    translate(t, one, family, stateless(family, client, two.containers[0]));
    const connection = await idleConnection(t, client, two.containers[0], family);
    await connection.answers("before");
    const back = await otherVersion(t, [one, two], feature);
    await connection.answers("after");
    await back();
    await connection.answers("again");
  });
}

function replaceTests({ hosts, feature, path }: Ways, family: Family): void {
  it(`IPv${family}: programs of another version take over, and no connection is lost, translated ones either`, async (t) => {
    const [one, two] = hosts();
    const [client] = one.containers;
    const service = SERVICE[family];
    t.after(() => one.pass({ services: [] }));
    await one.pass({ services: [service] });
    translate(t, one, family, stateless(family, client, two.containers[0]));
    const flows = start(t, [one, two], family);
    const translated = new RunningFlows({ from: client, to: two.containers[0], family, service, port: SERVICE_PORT });
    t.after(() => translated.stop());
    const all = [...flows, translated];
    await allGoOn(all, "by programs of one version");
    const back = await otherVersion(t, [one, two], feature);
    for (const { netns } of [one, two]) {
      const [datapath] = (await netns.kernel.observe([])).datapaths;
      assert.equal(datapath?.code, OTHER_DIGEST);
      assert.deepEqual(
        datapath.programs.filter(({ isStale }) => isStale),
        [],
      );
    }
    const seen = await counted(one, () => allGoOn(all, "by programs of another"));
    for (const way of [path("out", family), path("same", family), "translated"] as const)
      assert.ok(way !== undefined && (seen[way] ?? 0) > 0, `${way} is taken`);
    await back();
    await allGoOn(all, "by those of the first again");
    for (const flow of all) flow.end();
  });
}

function hookTests({ hosts, path, hook: own }: Ways, family: Family): void {
  if (own === undefined || hasTcx() !== true) return;
  it(`IPv${family}: programs move from one hook to the other, none is left at the first, and no connection is lost`, async (t) => {
    const both = hosts();
    const move = async (hook: HookName) => {
      useHook(hook);
      for (const host of both) await host.pass();
    };
    t.after(() => move(own));
    const flows = start(t, both, family);
    await allGoOn(flows, `by ${own}`);
    for (const hook of ["clsact", "tcx", "clsact"] as const) {
      await move(hook);
      for (const { netns } of both) {
        const devices = (await netns.kernel.observe([])).datapaths[0]?.programs.map(({ dev }) => dev) ?? [];
        assert.equal(new Set(devices).size, devices.length, `one program on each device: ${devices.join(" ")}`);
      }
      const seen = await counted(both[0], () => allGoOn(flows, `by ${hook}`));
      const way = path("out", family);
      assert.ok(way !== undefined && (seen[way] ?? 0) > 0);
    }
    for (const flow of flows) flow.end();
  });
}

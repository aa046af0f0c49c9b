import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { test } from "node:test";
import { labOrReason } from "../support/lab.ts";
import { agentOf, createCluster, hostOf, httpGet } from "../support/lab-cluster.ts";

const skip = await labOrReason();

interface StateDocument {
  readonly agents: readonly { readonly ip: string; readonly overlays: readonly unknown[] }[];
  readonly network: unknown;
}

/** The original's document for the default configuration (spec: overlay §5.2, §5.6), written out. */
function expectedAgent(n: number, bridges: boolean): unknown {
  const vxlan = {
    vni: 1024,
    vtep_ip: `44.128.0.${n + 1}/20`,
    vtep_ip6: `fd01:a::${n + 1}/64`,
    vtep_mac: `70:b3:d5:80:00:0${n + 1}`,
    vtep_name: "vtep1024",
  };
  const slice6 = n === 0 ? "fd01:b::/" : `fd01:b:0:0:${n}::/`;
  const common = { backend: { vxlan }, state: { status: "STATUS_OK" } };
  return {
    ip: `10.0.0.1${n}`,
    overlays: [
      {
        ...common,
        ...(bridges && {
          docker_bridge: { ip: `9.0.${n}.128/25`, name: "d-dcos" },
          mesos_bridge: { ip: `9.0.${n}.0/25`, name: "m-dcos" },
        }),
        info: { enabled: true, name: "dcos", prefix: 24, subnet: "9.0.0.0/8" },
        subnet: `9.0.${n}.0/24`,
      },
      {
        ...common,
        ...(bridges && {
          docker_bridge: { ip6: `fd01:b::${n}:8000:0:0/81`, name: "d-dcos6" },
          mesos_bridge: { ip6: `${slice6}81`, name: "m-dcos6" },
        }),
        info: { enabled: true, name: "dcos6", prefix6: 80, subnet6: "fd01:b::/64" },
        subnet6: `${slice6}80`,
      },
    ],
  };
}

test("the master's state is the seed's table for three hosts, the first without containers", { skip }, async (t) => {
  const noContainers = (host: number) => (host === 1 ? ["--no-containers"] : []);
  const cluster = await createCluster({ hosts: 3, firstHost: 10, agentArgs: noContainers });
  const { master } = cluster;
  const state = (await master.get("/overlay-master/state")) as StateDocument;
  assert.deepEqual(state.agents, [expectedAgent(0, false), expectedAgent(1, true), expectedAgent(2, true)]);
  assert.deepEqual(state.network, {
    overlays: [
      { enabled: true, name: "dcos", prefix: 24, subnet: "9.0.0.0/8" },
      { enabled: true, name: "dcos6", prefix6: 80, subnet6: "fd01:b::/64" },
    ],
    vtep_mac_oui: "70:B3:D5:00:00:00",
    vtep_subnet: "44.128.0.0/20",
    vtep_subnet6: "fd01:a::/64",
  });

  await t.test("each agent's own document is the master's entry for it", async () => {
    for (const [i, expected] of state.agents.entries()) {
      const { configuration_attempts, ...own } = (await agentOf(cluster, i + 1).get("/overlay-agent/overlay")) as {
        configuration_attempts: number;
      };
      assert.ok(configuration_attempts >= 1);
      assert.deepEqual(own, expected);
    }
  });

  await t.test("documents are served over TCP where the original served them", async () => {
    const host2 = hostOf(cluster.lab, 2);
    assert.deepEqual(JSON.parse(await httpGet(host2, `${master.url}/overlay-master/state`)), state);
    const own = JSON.parse(await httpGet(host2, `http://${host2.address}:5051/overlay-agent/overlay`)) as {
      ip: string;
    };
    assert.equal(own.ip, host2.address);
  });

  await t.test("a host without containers has a tunnel and no bridges", async () => {
    const links = await hostOf(cluster.lab, 1).mustRun("ip", ["-o", "link"]);
    assert.match(links, /vtep1024/);
    assert.doesNotMatch(links, /m-dcos|d-dcos/);
  });

  await t.test("sockets are for root only", () => {
    for (const { socket } of [master, ...cluster.agents]) assert.equal(statSync(socket).mode & 0o777, 0o600, socket);
  });
});

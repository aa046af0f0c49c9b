import assert from "node:assert/strict";
import { test } from "node:test";
import type { AgentOverlay, AgentRecord, Backend } from "../../model/cluster.ts";
import { cidr, ip, ipInterface } from "../../model/ip.ts";
import { mac } from "../../model/mac.ts";
import type { NetworkSource } from "../../model/network-source.ts";
import { agentOverlayJson, masterStateJson } from "./overlay-json.ts";

/** Spec: overlay §5.6. */
const EXAMPLE = `{"agents":[
 {"ip":"10.0.0.10","overlays":[
  {"backend":{"vxlan":{"vni":1024,"vtep_ip":"44.128.0.1/20","vtep_ip6":"fd01:a::1/64","vtep_mac":"70:b3:d5:80:00:01","vtep_name":"vtep1024"}},
   "info":{"enabled":true,"name":"dcos","prefix":24,"subnet":"9.0.0.0/8"},"state":{"status":"STATUS_OK"},"subnet":"9.0.0.0/24"},
  {"backend":{"vxlan":{"vni":1024,"vtep_ip":"44.128.0.1/20","vtep_ip6":"fd01:a::1/64","vtep_mac":"70:b3:d5:80:00:01","vtep_name":"vtep1024"}},
   "info":{"enabled":true,"name":"dcos6","prefix6":80,"subnet6":"fd01:b::/64"},"state":{"status":"STATUS_OK"},"subnet6":"fd01:b::/80"}]},
 {"ip":"10.0.0.11","overlays":[
  {"backend":{"vxlan":{"vni":1024,"vtep_ip":"44.128.0.2/20","vtep_ip6":"fd01:a::2/64","vtep_mac":"70:b3:d5:80:00:02","vtep_name":"vtep1024"}},
   "docker_bridge":{"ip":"9.0.1.128/25","name":"d-dcos"},"info":{"enabled":true,"name":"dcos","prefix":24,"subnet":"9.0.0.0/8"},
   "mesos_bridge":{"ip":"9.0.1.0/25","name":"m-dcos"},"state":{"status":"STATUS_OK"},"subnet":"9.0.1.0/24"},
  {"backend":{"vxlan":{"vni":1024,"vtep_ip":"44.128.0.2/20","vtep_ip6":"fd01:a::2/64","vtep_mac":"70:b3:d5:80:00:02","vtep_name":"vtep1024"}},
   "docker_bridge":{"ip6":"fd01:b::1:8000:0:0/81","name":"d-dcos6"},"info":{"enabled":true,"name":"dcos6","prefix6":80,"subnet6":"fd01:b::/64"},
   "mesos_bridge":{"ip6":"fd01:b:0:0:1::/81","name":"m-dcos6"},"state":{"status":"STATUS_OK"},"subnet6":"fd01:b:0:0:1::/80"}]}],
 "network":{"overlays":[{"enabled":true,"name":"dcos","prefix":24,"subnet":"9.0.0.0/8"},
                        {"enabled":true,"name":"dcos6","prefix6":80,"subnet6":"fd01:b::/64"}],
  "vtep_mac_oui":"70:B3:D5:00:00:00","vtep_subnet":"44.128.0.0/20","vtep_subnet6":"fd01:a::/64"}}`;

const SOURCE: NetworkSource = {
  vtep_subnet: "44.128.0.0/20",
  vtep_subnet6: "fd01:a::/64",
  vtep_mac_oui: "70:B3:D5:00:00:00",
  overlays: [
    { name: "dcos", subnet: "9.0.0.0/8", prefix: 24, enabled: true },
    { name: "dcos6", subnet6: "fd01:b::/64", prefix6: 80, enabled: true },
  ],
};
const DCOS = { name: "dcos", subnet: cidr("9.0.0.0/8"), prefix: 24, enabled: true };
const DCOS6 = { name: "dcos6", subnet6: cidr("fd01:b::/64"), prefix6: 80, enabled: true };
const OK = [
  { name: "dcos6", status: "STATUS_OK" },
  { name: "dcos", status: "STATUS_OK" },
] as const;

const backend = (n: number): Backend => ({
  vni: 1024,
  vtepName: "vtep1024",
  vtepIp: ipInterface(`44.128.0.${n}/20`),
  vtepIp6: ipInterface(`fd01:a::${n}/64`),
  vtepMac: mac(`70:b3:d5:80:00:0${n}`),
});

const record = (n: number, address: string, overlays: readonly AgentOverlay[]): AgentRecord => ({
  id: `agent-${n}`,
  ip: ip(address),
  hostname: `host-${n}`,
  backend: backend(n),
  overlays,
});

const MASTER = record(1, "10.0.0.10", [
  { info: DCOS, subnet: cidr("9.0.0.0/24") },
  { info: DCOS6, subnet6: cidr("fd01:b::/80") },
]);
const AGENT = record(2, "10.0.0.11", [
  {
    info: DCOS,
    subnet: cidr("9.0.1.0/24"),
    mesosBridge: { name: "m-dcos", ip: cidr("9.0.1.0/25") },
    dockerBridge: { name: "d-dcos", ip: cidr("9.0.1.128/25") },
  },
  {
    info: DCOS6,
    subnet6: cidr("fd01:b:0:0:1::/80"),
    mesosBridge: { name: "m-dcos6", ip6: cidr("fd01:b:0:0:1::/81") },
    dockerBridge: { name: "d-dcos6", ip6: cidr("fd01:b::1:8000:0:0/81") },
  },
]);

test("the original's example document comes out identical, order of keys included", () => {
  const text = masterStateJson(SOURCE, [
    { record: MASTER, statuses: OK },
    { record: AGENT, statuses: OK },
  ]);
  assert.deepEqual(JSON.parse(text), JSON.parse(EXAMPLE));
  assert.equal(text, JSON.stringify(JSON.parse(EXAMPLE)));
});

test("what is empty or unset is left out, and text of the configuration is echoed as written", () => {
  const source: NetworkSource = {
    vtep_subnet: "44.128.0.0/20",
    vtep_mac_oui: "70:B3:d5:00:00:00",
    vtep_mtu: 9000,
    overlays: [{ name: "b", subnet6: "FD01:B::/64", prefix6: 80, enabled: false }],
  };
  const network = `"network":{"overlays":[{"enabled":false,"name":"b","prefix6":80,"subnet6":"FD01:B::/64"}],"vtep_mac_oui":"70:B3:d5:00:00:00","vtep_mtu":9000,"vtep_subnet":"44.128.0.0/20"}`;
  assert.equal(masterStateJson(source, []), `{${network}}`);
  const bare = record(1, "10.0.0.1", []);
  assert.equal(masterStateJson(source, [{ record: bare, statuses: [] }]), `{"agents":[{"ip":"10.0.0.1"}],${network}}`);
});

test("only the agent's own document tells why a network failed", () => {
  const statuses = [{ name: "dcos", status: "STATUS_FAILED", error: "add m-dcos: file exists (EEXIST)" }] as const;
  const overlays = AGENT.overlays.slice(0, 1);
  const master = JSON.parse(masterStateJson(SOURCE, [{ record: { ...AGENT, overlays }, statuses }]));
  assert.deepEqual(master.agents[0].overlays[0].state, { status: "STATUS_FAILED" });
  const text = agentOverlayJson({ ip: AGENT.ip, overlays, backend: AGENT.backend, statuses, configurationAttempts: 3 });
  const { configuration_attempts, ...agent } = JSON.parse(text);
  assert.equal(configuration_attempts, 3);
  assert.deepEqual(agent.overlays[0].state, { error: statuses[0].error, status: "STATUS_FAILED" });
  assert.deepEqual(Object.keys(JSON.parse(text)), ["configuration_attempts", "ip", "overlays"]);
});

test("the two documents agree on one agent", () => {
  const state = JSON.parse(masterStateJson(SOURCE, [{ record: AGENT, statuses: OK }]));
  const { configuration_attempts: _, ...agent } = JSON.parse(
    agentOverlayJson({ ...AGENT, statuses: OK, configurationAttempts: 1 }),
  );
  assert.deepEqual(agent, state.agents[0]);
});

test("a network without a word of the agent has no state, and the VTEP's MTU is shown when it is set", () => {
  const withMtu = { ...AGENT, backend: { ...AGENT.backend, vtepMtu: 9000 } };
  const [first] = JSON.parse(masterStateJson(SOURCE, [{ record: withMtu, statuses: [] }])).agents[0].overlays;
  assert.ok(!("state" in first));
  assert.equal(first.backend.vxlan.vtep_mtu, 9000);
  assert.deepEqual(Object.keys(first.backend.vxlan), [...Object.keys(first.backend.vxlan)].sort());
});

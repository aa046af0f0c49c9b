import assert from "node:assert/strict";
import { test } from "node:test";
import { cidr, ip, ipInterface } from "../../model/ip.ts";
import { mac } from "../../model/mac.ts";
import {
  type AgentStatusView,
  type AgentView,
  agentText,
  hasFailed,
  masterText,
  type NetworkView,
  type StatusView,
} from "./status-text.ts";

const STATUS: StatusView = {
  version: "0.1.0",
  agents: { known: 2, connected: 1 },
  networks: 2,
  defaultNetwork: "dcos",
  enableIpv6: true,
  vteps: [
    { kind: "ip", pool: cidr("44.128.0.0/20"), used: 2, size: 4094 },
    { kind: "ip6", pool: cidr("fd01:a::/64"), used: 2, size: 2 ** 64 },
  ],
  refusedChanges: [],
  warnings: [],
};

const NETWORKS: NetworkView[] = [
  {
    name: "dcos",
    enabled: true,
    default: true,
    subnet: cidr("9.0.0.0/8"),
    prefix: 24,
    subnet6: cidr("fd01:c::/64"),
    prefix6: 80,
    agents: 2,
    failed: 0,
    pools: [
      { kind: "subnet", network: "dcos", pool: cidr("9.0.0.0/8"), used: 2, size: 65_536 },
      { kind: "subnet6", network: "dcos", pool: cidr("fd01:c::/64"), used: 2, size: 65_536 },
    ],
  },
  {
    name: "dcos6",
    enabled: false,
    default: false,
    subnet6: cidr("fd01:b::/64"),
    prefix6: 80,
    agents: 0,
    failed: 0,
    pools: [{ kind: "subnet6", network: "dcos6", pool: cidr("fd01:b::/64"), used: 0, size: 65_536 }],
  },
];

function agent(n: number, more: Partial<AgentView> = {}): AgentView {
  return {
    id: `0688065a-6d6a-48e6-92e9-e91949d3327${n}`,
    ip: ip(`10.0.0.1${n}`),
    hostname: `host${n}`,
    connected: true,
    backend: {
      vni: 1024,
      vtepName: "vtep1024",
      vtepIp: ipInterface(`44.128.0.${n}/20`),
      vtepMac: mac(`70:b3:d5:80:00:0${n}`),
    },
    overlays: [],
    statuses: [{ name: "dcos", status: "STATUS_OK" }],
    ...more,
  };
}

test("a cluster without problems: networks and their use, agents and whether they are there", () => {
  assert.equal(
    masterText("unix:/run/weft/master.sock", STATUS, NETWORKS, [agent(1), agent(2, { connected: false })]),
    `master unix:/run/weft/master.sock, version 0.1.0
1 of 2 agents connected
VTEP addresses: 2 of 4094 in 44.128.0.0/20, 2 of 2^64 in fd01:a::/64

NETWORK  SUBNET       SLICE  AGENTS      STATE
dcos     9.0.0.0/8    /24    2 of 65536  ok, default
dcos     fd01:c::/64  /80    2 of 65536  ok, default
dcos6    fd01:b::/64  /80    0 of 65536  disabled

HOST   ADDRESS    STATE      AGENT
host1  10.0.0.11  connected  0688065a-6d6a-48e6-92e9-e91949d33271
host2  10.0.0.12  away       0688065a-6d6a-48e6-92e9-e91949d33272

no problems`,
  );
});

test("every error is there in full, with its agent and network, and every change that is not in force", () => {
  const error = "add vtep1024: operation not supported (EOPNOTSUPP); load the module vxlan";
  const failed = agent(1, { statuses: [{ name: "dcos", status: "STATUS_FAILED", error }] });
  const [dcos, dcos6] = NETWORKS;
  assert.ok(dcos !== undefined && dcos6 !== undefined);
  const change = "network dcos: it cannot be removed while 2 agents have a share of it";
  const text = masterText("x", { ...STATUS, refusedChanges: [change] }, [{ ...dcos, failed: 1 }, dcos6], [failed]);
  assert.match(text, /dcos +9\.0\.0\.0\/8 .* FAILED on 1 of 2, default/);
  assert.match(text, /host1 +10\.0\.0\.11 +FAILED/);
  assert.ok(
    text.endsWith(`problems:\n  host1 (10.0.0.11): network dcos: ${error}\n  configuration change refused: ${change}`),
  );
});

test("an agent tells who it is, its slices and its errors, also before a master has answered", () => {
  const record = agent(1);
  const view: AgentStatusView = {
    version: "0.1.0",
    agentId: record.id,
    registered: true,
    nodePath: "ingress forward",
    peers: 2,
    peersComplete: true,
    peerProblems: ["peer 10.0.0.13 is left out: its MAC is that of 10.0.0.12"],
    attachments: 3,
    statuses: [{ name: "dcos", status: "STATUS_FAILED", error: "no space" }],
    assignment: {
      agent: {
        ...record,
        overlays: [
          { info: { name: "dcos", subnet: cidr("9.0.0.0/8"), prefix: 24, enabled: true }, subnet: cidr("9.0.1.0/24") },
        ],
      },
      overlaySubnets: [],
      vtepSubnets: [],
      enableIpv6: true,
    },
  };
  assert.equal(
    agentText("unix:/run/weft/agent.sock", view),
    `agent unix:/run/weft/agent.sock, version 0.1.0
host1 (10.0.0.11, ${record.id})
registered; 2 peers; 3 container interfaces
VTEP 44.128.0.1/20, 70:b3:d5:80:00:01

NETWORK  SUBNETS     STATE
dcos     9.0.1.0/24  STATUS_FAILED

problems:
  network dcos: no space
  peer 10.0.0.13 is left out: its MAC is that of 10.0.0.12`,
  );
  const { assignment, ...unregistered } = view;
  assert.match(
    agentText("x", { ...unregistered, registered: false, peersComplete: false, statuses: [], peerProblems: [] }),
    /no master has answered yet; 2 peers so far/,
  );
});

test("an agent tells the level of its datapath, why it is not higher, and what of it is left to the kernel", () => {
  const view: AgentStatusView = {
    version: "0.2.0",
    agentId: "agent-1",
    registered: true,
    nodePath: "ingress forward",
    peers: 2,
    peersComplete: true,
    peerProblems: [],
    attachments: 3,
    statuses: [],
  };
  const linesOf = (level: 0 | 1 | 2, reasons: string[], notes: string[] = []) =>
    agentText("x", { ...view, datapath: { level, reasons, notes } }).split("\n");
  assert.equal(linesOf(2, [])[3], "datapath: level 2");
  const [why, note, , problems] = linesOf(1, ["the hosts reach each other by IPv6"], ["the map peers4 is full"]).slice(
    3,
  );
  assert.equal(why, "datapath: level 1 (the hosts reach each other by IPv6)");
  assert.deepEqual([note, problems], ["  the map peers4 is full", "no problems"]);
  assert.equal(linesOf(0, ["it is set to 0", "no BPF"])[3], "datapath: level 0 (it is set to 0; no BPF)");
  assert.ok(!agentText("x", view).includes("datapath"), "an older agent does not know of any");
});

test("an agent of a version before, which does not enforce what it is asked for, is a problem", () => {
  const old = agent(1, { lacks: ["isolation and egress of web, db", "policies"] });
  assert.ok(
    masterText("x", STATUS, NETWORKS, [old, agent(2, { version: "0.2.0" })]).endsWith(`problems:
  host1 (10.0.0.11): does not enforce isolation and egress of web, db; policies: its agent is a weft from before 0.2, which names no version; upgrade it`),
  );
  assert.match(masterText("x", STATUS, NETWORKS, [{ ...old, version: "0.1.3" }]), /agent is weft 0\.1\.3; upgrade it$/);
});

test("a failed network is told to scripts, one that is being made is not", () => {
  assert.equal(
    hasFailed([
      { name: "dcos", status: "STATUS_OK" },
      { name: "x", status: "STATUS_FAILED" },
    ]),
    true,
  );
  assert.equal(hasFailed([{ name: "dcos", status: "STATUS_CONFIGURING" }]), false);
});

/**
 * Golden text: one container, inside and outside, as `ip`, `tc` and `nft` would show it.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  SEED_ATTACHMENT,
  seedAgent,
  seedAssignment,
  seedContext,
  seedInput,
} from "../../../test/support/seed-cluster.ts";
import type { Attachment } from "../../model/attachment.ts";
import { ip } from "../../model/ip.ts";
import { formatHostState } from "../host/format.ts";
import { EMPTY_HOST_STATE, type HostState, type KernelOp } from "../host/host-state.ts";
import { attachOps, desiredAttachment, desiredContainer, detachOps } from "./attach.ts";
import { desiredHost, type OverlayInput } from "./desired.ts";
import { containerMtu } from "./vtep.ts";

/** Golden texts begin on a line of their own. */
function assertText(state: HostState, golden: string): void {
  assert.equal(formatHostState(state), golden.slice(1));
}

function linesOf(state: HostState, word: string): string[] {
  return formatHostState(state)
    .split("\n")
    .filter((line) => line.includes(word))
    .map((line) => line.trim());
}

function lines(input: OverlayInput, word: string): string[] {
  return linesOf(desiredHost(input), word);
}

test("the inside of a container", () => {
  assertText(
    desiredContainer(SEED_ATTACHMENT, seedContext(1)),
    `
link eth0 veth address 02:57:09:00:01:02 mtu 1420 up
link lo device up
addr 9.0.1.2/32 dev eth0
route 0.0.0.0/0 via 9.0.1.1 dev eth0 proto 87
route 9.0.1.1/32 dev eth0 proto 87
neigh 9.0.1.1 dev eth0 lladdr 02:57:00:00:00:01 PERMANENT
sysctl net/ipv6/conf/eth0/accept_ra = 0
sysctl net/ipv6/conf/eth0/disable_ipv6 = 1
`,
  );
});

test("a further interface leaves the default to the first, and answers by itself; both families have gateways", () => {
  const both = { ...SEED_ATTACHMENT, network: "both", ip6: ip("fd01:b::1:0:0:2"), ifname: "net1", rank: 1 };
  const [dcos, dcos6] = seedAgent(1).overlays;
  const bridge = { ...dcos?.mesosBridge, ...dcos6?.mesosBridge, name: "m-both" };
  const overlay = { info: { name: "both", enabled: true }, mesosBridge: bridge };
  const context = seedContext(1);
  const assignment = { ...context.assignment, agent: { ...seedAgent(1), overlays: [overlay] } };
  assertText(
    desiredContainer(both, { ...context, assignment }),
    `
link lo device up
link net1 veth address 02:57:09:00:01:02 mtu 1420 up
addr 9.0.1.2/32 dev net1
addr fd01:b::1:0:0:2/128 dev net1
route ::/0 via fd01:b::1:0:0:1 dev net1 proto 87 metric 1025
route ::/0 via fd01:b::1:0:0:1 dev net1 table 871 proto 87 metric 1025
route 0.0.0.0/0 via 9.0.1.1 dev net1 proto 87 metric 1
route 0.0.0.0/0 via 9.0.1.1 dev net1 table 871 proto 87 metric 1
route 9.0.1.1/32 dev net1 proto 87 metric 1
route 9.0.1.1/32 dev net1 table 871 proto 87 metric 1
route fd01:b::1:0:0:1/128 dev net1 proto 87 metric 1025
route fd01:b::1:0:0:1/128 dev net1 table 871 proto 87 metric 1025
rule 32087: from 9.0.1.2/32 lookup 871
rule 32087: from fd01:b::1:0:0:2/128 lookup 871
neigh 9.0.1.1 dev net1 lladdr 02:57:00:00:00:01 PERMANENT
neigh fd01:b::1:0:0:1 dev net1 lladdr 02:57:00:00:00:01 PERMANENT
sysctl net/ipv6/conf/net1/accept_ra = 0
sysctl net/ipv6/conf/net1/disable_ipv6 = 0
`,
  );
});

test("a container whose network this host has no more: its host side stays, its inside cannot be told", () => {
  const orphan = { ...SEED_ATTACHMENT, network: "removed" };
  assert.deepEqual(lines({ ...seedInput(1), attachments: [orphan] }, "9.0.1.2/32"), [
    "route 9.0.1.2/32 dev weft0123456789 proto 87",
    "ip saddr 9.0.1.2/32 ether saddr 02:57:09:00:01:02 jump leased4",
  ]);
  assert.throws(() => desiredContainer(orphan, seedContext(1)), /network removed has no half on this host/);
});

test("addresses of another IPAM plugin need no half here; a gateway that it did not name is one on no wire", () => {
  const ipam = { type: "host-local", cniPath: ["/opt/cni/bin"], args: "", config: "{}" };
  const foreign = { ...SEED_ATTACHMENT, network: "theirs", ip: ip("172.20.0.5"), ip6: ip("fd77::5"), ipam };
  const inside = (attachment: Attachment) =>
    formatHostState(desiredContainer(attachment, seedContext(1)))
      .split("\n")
      .filter((line) => /^(route|neigh)/.test(line));
  assert.deepEqual(inside(foreign), [
    "route ::/0 via fe80::57:1 dev eth0 proto 87 metric 1024",
    "route 0.0.0.0/0 via 169.254.1.1 dev eth0 proto 87",
    "route 169.254.1.1/32 dev eth0 proto 87",
    "route fe80::57:1/128 dev eth0 proto 87 metric 1024",
    "neigh 169.254.1.1 dev eth0 lladdr 02:57:00:00:00:01 PERMANENT",
    "neigh fe80::57:1 dev eth0 lladdr 02:57:00:00:00:01 PERMANENT",
  ]);
  const named = { ...ipam, gateway: ip("172.20.0.1"), gateway6: ip("fd77::1") };
  assert.deepEqual(inside({ ...foreign, ipam: named }).slice(0, 2), [
    "route ::/0 via fd77::1 dev eth0 proto 87 metric 1024",
    "route 0.0.0.0/0 via 172.20.0.1 dev eth0 proto 87",
  ]);
  assert.deepEqual(lines({ ...seedInput(1), attachments: [{ ...foreign, ipam: named }] }, "172.20.0."), [
    "route 172.20.0.5/32 dev weft0123456789 proto 87",
    "neigh 172.20.0.5 dev weft0123456789 lladdr 02:57:09:00:01:02 PERMANENT",
    "ip saddr 172.20.0.5/32 ether saddr 02:57:09:00:01:02 jump leased4",
  ]);
});

test("MTU: what is configured, else the underlay's less the headers; a container never exceeds the tunnel", () => {
  const context = seedContext(1);
  assert.equal(containerMtu(context), 1420);
  const { overlayMtu: _, ...assignment } = seedAssignment(1);
  assert.equal(containerMtu({ ...context, assignment }), 1450);
  assert.equal(containerMtu({ ...context, assignment: { ...assignment, overlayMtu: 9000 } }), 1450);
  const backend = { ...seedAgent(1).backend, vtepMtu: 8000 };
  assert.equal(containerMtu({ ...context, assignment: { ...assignment, agent: { ...seedAgent(1), backend } } }), 8000);
});

test("bandwidth: a queue towards the container, a limit in front of everything that it sends", () => {
  const shown = (bandwidth: NonNullable<Attachment["bandwidth"]>) => {
    const state = { ...EMPTY_HOST_STATE, ...desiredAttachment({ ...SEED_ATTACHMENT, bandwidth }, seedContext(1)) };
    return [...linesOf(state, "qdisc"), ...linesOf(state, "limit")];
  };
  const toContainer = { ingressRate: 8_000_000, ingressBurst: 800_000 };
  const fromContainer = { egressRate: 16_000_001, egressBurst: 1_600_000 };
  assert.deepEqual(shown({ ...toContainer, ...fromContainer }), [
    "qdisc tbf dev weft0123456789 rate 1000000bps burst 100000b",
    "limit rate over 2000001 bytes/second burst 200000 bytes drop",
  ]);
  assert.deepEqual(shown({ ...toContainer, ingressBurst: 16_000 }), [
    "qdisc tbf dev weft0123456789 rate 1000000bps burst 2840b",
  ]);
  assert.deepEqual(shown({ egressRate: 0, ingressRate: 0 }), []);
  const limited = { ...SEED_ATTACHMENT, bandwidth: fromContainer };
  const [chain] = desiredAttachment(limited, seedContext(1)).tables?.[0]?.chains ?? [];
  assert.deepEqual(
    chain?.rules.map(([first]) => first?.kind),
    ["limit over", "match"],
  );
});

test("the device is checked from before it is up until it is gone", () => {
  const ports = [{ protocol: "udp", hostPort: 53, containerPort: 53, hostIp: ip("10.0.0.11") } as const];
  const attachment = { ...SEED_ATTACHMENT, ports };
  const words = (ops: readonly KernelOp[]) => ops.map(({ op }) => op);
  assert.deepEqual(words(attachOps(attachment, [], seedContext(1))), [
    "datapath.remove",
    "link.add",
    "sysctl.set",
    "sysctl.set",
    "nft.chain.replace",
    "link.set",
    "neighbor.replace",
    "route.replace",
    "nft.elements.add",
    "connections.forget",
  ]);
  assert.deepEqual(words(detachOps(attachment, [])), [
    "datapath.remove",
    "nft.elements.delete",
    "connections.forget",
    "link.delete",
    "nft.chain.delete",
  ]);
});

test("ports that two interfaces of a container have lead to the first, and to the other when it goes", () => {
  const http = { protocol: "tcp", hostPort: 8080, containerPort: 80 } as const;
  const extra = { ...http, hostPort: 8081 };
  const first = { ...SEED_ATTACHMENT, ports: [http] };
  const second = { ...first, ifname: "eth1", hostIfname: "weft02", ip: ip("9.0.1.3"), ports: [http, extra] };
  const elements = (ops: readonly KernelOp[]) =>
    ops.flatMap((op) =>
      op.op === "nft.elements.add"
        ? op.elements.map(([key, value]) => `+ ${key} : ${value}`)
        : op.op === "nft.elements.delete"
          ? op.keys.map((key) => `- ${key}`)
          : [],
    );
  assert.deepEqual(elements(attachOps(second, [first], seedContext(1))), ["+ tcp . 8081 : 9.0.1.3 . 80"]);
  assert.deepEqual(elements(detachOps(second, [first])), [
    "- tcp . 8080",
    "- tcp . 8081",
    "+ tcp . 8080 : 9.0.1.2 . 80",
  ]);
  assert.deepEqual(elements(detachOps(first, [second])), ["- tcp . 8080", "+ tcp . 8080 : 9.0.1.3 . 80"]);
});

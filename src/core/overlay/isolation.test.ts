/** Golden text: what isolation and egress add to a host, and that without them nothing is added. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { SEED_ATTACHMENT, seedInput } from "../../../test/support/seed-cluster.ts";
import type { Assignment } from "../../model/cluster.ts";
import { cidr, ip } from "../../model/ip.ts";
import type { NetworkRules } from "../../model/isolation.ts";
import { PREFIXES_COMPARED_MAX } from "../../model/limits.ts";
import { diff } from "../host/diff.ts";
import { formatHostState } from "../host/format.ts";
import { EMPTY_HOST_STATE, type HostState } from "../host/host-state.ts";
import { attachOps } from "./attach.ts";
import { desiredHost, type OverlayInput } from "./desired.ts";

const DCOS: NetworkRules = { name: "dcos", prefixes: [cidr("9.0.0.0/8")] };
const DCOS6: NetworkRules = { name: "dcos6", prefixes: [cidr("fd01:b::/64")] };
const WEB: NetworkRules = { name: "web", prefixes: [cidr("10.9.0.0/16"), cidr("fd01:c::/64")] };
const LAB: NetworkRules = { name: "lab", prefixes: [cidr("10.8.0.0/16")], isolation: "closed" };

function inputWith(...networks: readonly NetworkRules[]): OverlayInput {
  const input = { ...seedInput(1), attachments: [SEED_ATTACHMENT] };
  const overlaySubnets = networks.flatMap(({ prefixes }) => prefixes);
  return { ...input, assignment: { ...input.assignment, overlaySubnets, networks } };
}

/** Chains and maps whose names begin so. */
function blocks(state: HostState, ...names: readonly string[]): string {
  const tables = state.tables.map((table) => ({
    ...table,
    chains: table.chains.filter(({ name }) => names.some((each) => name.startsWith(each))),
    maps: table.maps.filter(({ name }) => !/^(nodes|ports|tunnel)/.test(name)),
  }));
  const some = tables.filter(({ chains, maps }) => chains.length + maps.length > 0);
  return `\n${formatHostState({ ...EMPTY_HOST_STATE, tables: some })}`;
}

const gates = (...networks: readonly NetworkRules[]): string =>
  blocks(desiredHost(inputWith(...networks)), "leased4-", "leased6-", "to4-", "to6-", "forward", "weft");

test("where all networks are open nothing is added, whether the master tells of them or not", () => {
  const input = inputWith(DCOS, DCOS6, WEB);
  const { networks: _, ...assignment } = input.assignment;
  assert.equal(formatHostState(desiredHost(input)), formatHostState(desiredHost({ ...input, assignment })));
});

test("a network that allows one other: both ends, compared one by one", () => {
  assert.equal(
    gates({ ...DCOS, isolation: { allow: ["web", "lab"] } }, DCOS6, WEB, LAB),
    `
table ip weft {
  chain forward {
    type filter hook forward priority 0; policy accept;
    oifname "vtep1024" accept
    ip daddr 9.0.1.0/24 jump to4-dcos
  }
  chain to4-dcos {
    ip saddr 9.0.0.0/8 accept
    ip saddr 10.9.0.0/16 accept
    ip saddr 10.8.0.0/16 drop
    accept
  }
}
table ip6 weft {
  chain forward {
    type filter hook forward priority 0; policy accept;
    oifname "vtep1024" accept
    ip6 daddr fd01:b:0:0:1::/80 jump to6-dcos6
  }
  chain to6-dcos6 {
    ip6 saddr fd01:b::/64 accept
    accept
  }
}
table netdev weft {
  chain leased4-dcos {
    ip daddr 9.0.0.0/8 jump leased4
    ip daddr 10.9.0.0/16 jump leased4
    ip daddr 10.8.0.0/16 drop
    jump leased4
  }
  chain leased4-dcos6 {
    ip daddr 9.0.0.0/8 drop
    ip daddr 10.8.0.0/16 drop
    jump leased4
  }
  chain leased6-dcos {
    ip6 daddr fd01:c::/64 jump leased6
    ip6 daddr fd01:b::/64 drop
    jump leased6
  }
  chain leased6-dcos6 {
    ip6 daddr fd01:b::/64 jump leased6
    jump leased6
  }
  chain weft0123456789 {
    type filter hook ingress device "weft0123456789" priority 0; policy drop;
    ip saddr 9.0.1.2/32 ether saddr 02:57:09:00:01:02 jump leased4-dcos
  }
}
`,
  );
});

test("egress none: the cluster's networks and VTEPs, and nothing else; routed: no masquerade", () => {
  assert.equal(
    gates({ ...DCOS, egress: "none" }, { ...DCOS6, egress: "routed" }, WEB),
    `
table ip weft {
  chain forward {
    type filter hook forward priority 0; policy accept;
    oifname "vtep1024" accept
    ip daddr 9.0.1.0/24 jump to4-dcos
  }
  chain to4-dcos {
    ip saddr 9.0.0.0/8 accept
    ip saddr 10.9.0.0/16 accept
    ip saddr 44.128.0.0/20 accept
    drop
  }
}
table netdev weft {
  chain leased4-dcos {
    ip daddr 9.0.0.0/8 jump leased4
    ip daddr 10.9.0.0/16 jump leased4
    ip daddr 44.128.0.0/20 jump leased4
    drop
  }
  chain leased6-dcos {
    ip6 daddr fd01:b::/64 jump leased6
    ip6 daddr fd01:c::/64 jump leased6
    ip6 daddr fd01:a::/64 jump leased6
    drop
  }
  chain weft0123456789 {
    type filter hook ingress device "weft0123456789" priority 0; policy drop;
    ip saddr 9.0.1.2/32 ether saddr 02:57:09:00:01:02 jump leased4-dcos
  }
}
`,
  );
  const state = formatHostState(
    desiredHost(inputWith({ ...DCOS, egress: "none" }, { ...DCOS6, egress: "routed" }, WEB)),
  );
  assert.deepEqual(
    state.split("\n").filter((line) => /saddr .* masquerade/.test(line) && !line.includes("ct status")),
    ["    ip saddr 10.9.0.0/16 masquerade", "    ip6 saddr fd01:c::/64 masquerade"],
  );
});

test("many networks are looked up in maps, one for each length of prefix", () => {
  const more = Array.from({ length: PREFIXES_COMPARED_MAX }, (_, i): NetworkRules => {
    return { name: `n${i}`, prefixes: [i === 0 ? cidr("172.16.0.0/12") : cidr(`10.${i}.0.0/16`)] };
  });
  const text = gates({ ...DCOS, isolation: "closed" }, DCOS6, ...more);
  assert.match(
    text,
    /chain leased4-dcos \{\n {4}ip daddr 9\.0\.0\.0\/8 jump leased4\n {4}ip daddr & 255\.0\.0\.0 vmap @networks4-8\n {4}ip daddr & 255\.240\.0\.0 vmap @networks4-12\n {4}ip daddr & 255\.255\.0\.0 vmap @networks4-16\n {4}jump leased4/,
  );
  assert.match(text, /map networks4-12 \{\n {4}type ipv4_addr : verdict\n {6}172\.16\.0\.0 : drop\n {2}\}/);
});

test("a container is attached behind the chain of its network, and needs nothing but that", () => {
  const context = inputWith({ ...DCOS, isolation: "closed" }, DCOS6);
  const ops = attachOps({ ...SEED_ATTACHMENT, ip: ip("9.0.1.3"), hostIfname: "weftother" }, [], context);
  const chains = ops.flatMap((op) => (op.op.startsWith("nft.") ? [op] : []));
  assert.equal(chains.length, 1);
  assert.match(JSON.stringify(chains), /"jump","chain":"leased4-dcos"/);
});

test("while peers change too, nobody is let through by half a change", () => {
  const closed = inputWith({ ...DCOS, isolation: "closed" }, DCOS6, LAB, WEB);
  const allowed = { ...inputWith({ ...DCOS, isolation: { allow: ["web"] } }, DCOS6, LAB, WEB), peers: [] };
  for (const [before, after] of [
    [closed, allowed],
    [allowed, closed],
  ] as const) {
    const ops = diff(desiredHost(before), desiredHost(after));
    const first = ops.findIndex((op) => op.op === "nft.chain.replace");
    assert.ok(first > 0);
    assert.ok(ops.some(({ op }) => !op.startsWith("nft.")));
    assert.ok(ops.slice(first).every(({ op }) => op.startsWith("nft.")));
  }
});

test("what this host hosts of another's slice is looked at like its own", () => {
  const input = inputWith({ ...DCOS, isolation: "closed" }, DCOS6, WEB);
  const claim = (network: string, text: string) => ({ network, name: "x", address: ip(text), revision: 1 });
  const hosted = [claim("dcos", "9.0.7.7"), claim("dcos", "9.0.1.9"), claim("elsewhere", "10.9.0.3")];
  const state = desiredHost({ ...input, assignment: { ...input.assignment, hosted } });
  const forward = blocks(state, "forward");
  assert.deepEqual(forward.match(/(?<=daddr )\S+(?= jump to4)/g), ["9.0.1.0/24", "9.0.7.7/32"]);
});

test("a host that takes a further network up closes it, whatever was asked of it before it had that network", () => {
  const closed = { ...DCOS, isolation: "closed" } as const;
  const whole = inputWith(closed, { ...DCOS6, isolation: "closed" }, WEB);
  const { agent } = whole.assignment;
  // What containers are served from meanwhile: the same list of networks, of which this host has one.
  const part = { ...whole.assignment, agent: { ...agent, overlays: agent.overlays.slice(0, 1) } };
  const leased = (assignment: Assignment) =>
    desiredHost({ ...whole, assignment }).tables.flatMap(({ chains }) =>
      chains.flatMap(({ name }) => (name.startsWith("leased") && name.includes("-") ? [name] : [])),
    );
  assert.deepEqual(leased(part), ["leased4-dcos", "leased6-dcos"]);
  assert.deepEqual(leased(whole.assignment), ["leased4-dcos", "leased4-dcos6", "leased6-dcos", "leased6-dcos6"]);
});

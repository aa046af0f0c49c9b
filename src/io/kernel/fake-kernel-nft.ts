/**
 * nftables of the simulated kernel. Each operation is one transaction: it is checked whole before it changes anything.
 */
import type {
  KernelOp,
  NftChain,
  NftFamily,
  NftHook,
  NftMapType,
  NftPortKey,
  NftStatement,
} from "../../core/host/host-state.ts";
import { ownsNftRule } from "../../core/host/ownership.ts";
import { FILTER_TABLE } from "../../core/host/passages.ts";
import { type FakeNamespace, type FakeTable, refuse } from "./fake-kernel-namespace.ts";

type Op<K extends KernelOp["op"]> = Extract<KernelOp, { op: K }>;

export function replaceTable(namespace: FakeNamespace, { table }: Op<"nft.table.replace">): void {
  const made: FakeTable = {
    family: table.family,
    name: table.name,
    chains: new Map(table.chains.map((chain) => [chain.name, chain])),
    maps: new Map(table.maps.map(({ name, type, elements }) => [name, { type, elements: new Map(elements) }])),
  };
  for (const chain of table.chains) checkChain(namespace, made, chain);
  for (const [name, { elements }] of made.maps) for (const [, value] of elements) checkVerdict(made, name, value);
  namespace.tables.set(tableKey(table.family, table.name), made);
}

export function deleteTable(namespace: FakeNamespace, { family, name }: Op<"nft.table.delete">): void {
  if (!namespace.tables.delete(tableKey(family, name)))
    refuse("ENOENT", `delete table ${family} ${name}: no such file or directory`);
}

export function replaceChain(namespace: FakeNamespace, { family, table, chain }: Op<"nft.chain.replace">): void {
  const there = findTable(namespace, family, table);
  checkChain(namespace, { ...there, chains: new Map(there.chains).set(chain.name, chain) }, chain);
  there.chains.set(chain.name, chain);
}

export function deleteChain(namespace: FakeNamespace, { family, table, chain }: Op<"nft.chain.delete">): void {
  const { chains, maps } = findTable(namespace, family, table);
  if (!chains.has(chain)) refuse("ENOENT", `delete chain ${family} ${table} ${chain}: no such file or directory`);
  const jumps = [...chains.values()].flatMap(({ rules }) => rules.flat());
  if (jumps.some((part) => part.kind === "jump" && part.chain === chain))
    refuse("EBUSY", `delete chain ${family} ${table} ${chain}: device or resource busy`);
  for (const [name, { elements }] of maps)
    if ([...elements.values()].includes(`jump ${chain}`))
      refuse("EBUSY", `delete chain ${family} ${table} ${chain}: map ${name} leads to it`);
  chains.delete(chain);
}

export function addMap(namespace: FakeNamespace, { family, table, map, type }: Op<"nft.map.add">): void {
  const { maps } = findTable(namespace, family, table);
  if (maps.has(map)) refuse("EEXIST", `add map ${family} ${table} ${map}: file exists`);
  maps.set(map, { type, elements: new Map() });
}

export function deleteMap(namespace: FakeNamespace, { family, table, map }: Op<"nft.map.delete">): void {
  const { chains, maps } = findTable(namespace, family, table);
  if (!maps.has(map)) refuse("ENOENT", `delete map ${family} ${table} ${map}: no such file or directory`);
  const statements = [...chains.values()].flatMap(({ rules }) => rules.flat());
  if (statements.some((part) => "map" in part && part.map === map))
    refuse("EBUSY", `delete map ${family} ${table} ${map}: device or resource busy`);
  maps.delete(map);
}

export function addElements(namespace: FakeNamespace, op: Op<"nft.elements.add">): void {
  const elements = findMap(namespace, op);
  for (const [key] of op.elements)
    if (elements.has(key)) refuse("EEXIST", `add element ${key} to ${op.map}: file exists`);
  const table = findTable(namespace, op.family, op.table);
  for (const [, value] of op.elements) checkVerdict(table, op.map, value);
  for (const [key, value] of op.elements) elements.set(key, value);
}

export function deleteElements(namespace: FakeNamespace, op: Op<"nft.elements.delete">): void {
  const elements = findMap(namespace, op);
  for (const key of op.keys)
    if (!elements.has(key)) refuse("ENOENT", `delete element ${key} of ${op.map}: no such file or directory`);
  for (const key of op.keys) elements.delete(key);
}

export function replacePassage(namespace: FakeNamespace, { passage }: Op<"nft.passage.replace">): void {
  const { chains } = findTable(namespace, passage.family, FILTER_TABLE);
  const there =
    chains.get(passage.chain) ??
    refuse("ENOENT", `chain ${passage.family} ${FILTER_TABLE} ${passage.chain}: no such file or directory`);
  const others = there.rules.filter((rule) => !ownsNftRule(rule));
  chains.set(there.name, { ...there, rules: [...passage.rules, ...others] });
}

function findMap(namespace: FakeNamespace, at: { family: NftFamily; table: string; map: string }) {
  const map = findTable(namespace, at.family, at.table).maps.get(at.map);
  return map?.elements ?? refuse("ENOENT", `map ${at.family} ${at.table} ${at.map}: no such file or directory`);
}

function findTable(namespace: FakeNamespace, family: NftFamily, name: string): FakeTable {
  const table = namespace.tables.get(tableKey(family, name));
  return table ?? refuse("ENOENT", `table ${family} ${name}: no such file or directory`);
}

function checkChain(namespace: FakeNamespace, table: FakeTable, chain: NftChain): void {
  const what = `chain ${table.family} ${table.name} ${chain.name}`;
  const isIngress = chain.hook?.hook === "ingress";
  if (chain.hook !== undefined && isIngress !== (table.family === "netdev"))
    refuse("ENOTSUP", `${what}: no hook ${chain.hook.hook} in this family`);
  if (isIngress && chain.hook?.device === undefined) refuse("EINVAL", `${what}: ingress needs a device`);
  for (const part of chain.rules.flat()) checkStatement(namespace, table, part, what);
  for (const base of table.chains.values()) if (base.hook !== undefined) checkHooks(table, base, base.hook, base.name);
}

function checkStatement(namespace: FakeNamespace, table: FakeTable, part: NftStatement, what: string): void {
  switch (part.kind) {
    case "jump": {
      const target = table.chains.get(part.chain) ?? refuse("ENOENT", `${what}: jump to ${part.chain}: no such chain`);
      if (target.hook !== undefined) refuse("ENOTSUP", `${what}: jump to the base chain ${part.chain}`);
      break;
    }
    case "forward":
      if (table.family !== "netdev") refuse("ENOTSUP", `${what}: fwd belongs to the netdev family`);
      checkMap(table, part.map, part.field === "ip daddr" ? "ipv4_addr : ipv4_addr" : "ipv6_addr : ipv6_addr", what);
      namespace.link(part.device);
      break;
    case "mapped":
      checkMap(table, part.map, part.field.startsWith("ip6") ? "ipv6_addr : ipv6_addr" : "ipv4_addr : ipv4_addr", what);
      break;
    case "vmap":
      checkMap(table, part.map, part.field.startsWith("ip6") ? "ipv6_addr : verdict" : "ipv4_addr : verdict", what);
      break;
    case "dnat":
      if (table.family !== part.family) refuse("ENOTSUP", `${what}: dnat ${part.family} in another family's table`);
      checkMap(table, part.map, MAP_TYPES[part.key][part.family], what);
      break;
    case "ct status dnat":
    case "ct direction reply":
      if (table.family === "netdev") refuse("EPROTO", `${what}: connections are not tracked here yet`);
      break;
    case "unknown":
      refuse("EINVAL", `${what}: ${part.text}`);
  }
}

const MAP_TYPES: Readonly<Record<NftPortKey, Readonly<Record<"ip" | "ip6", NftMapType | undefined>>>> = {
  "meta l4proto . th dport": {
    ip: "inet_proto . inet_service : ipv4_addr . inet_service",
    ip6: "inet_proto . inet_service : ipv6_addr . inet_service",
  },
  "ip daddr . meta l4proto . th dport": {
    ip: "ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service",
    ip6: undefined,
  },
  "ip6 daddr . meta l4proto . th dport": {
    ip: undefined,
    ip6: "ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service",
  },
};

function checkMap(table: FakeTable, name: string, type: NftMapType | undefined, what: string): void {
  const map = table.maps.get(name) ?? refuse("ENOENT", `${what}: map ${name}: no such file or directory`);
  if (map.type !== type) refuse("EINVAL", `${what}: map ${name} has other types`);
}

/** A map of verdicts leads only to chains that are there and have no hook. */
function checkVerdict(table: FakeTable, map: string, value: string): void {
  if (!value.startsWith("jump ")) return;
  const target = table.chains.get(value.slice("jump ".length));
  if (target === undefined) refuse("ENOENT", `element ${value} of ${map}: no such chain`);
  else if (target.hook !== undefined) refuse("ENOTSUP", `element ${value} of ${map}: a base chain`);
}

/** What a base chain leads to, by whatever jumps, must be possible at its hook. */
function checkHooks(table: FakeTable, chain: NftChain, hook: NftHook, base: string): void {
  const refuseHere = (what: string): never => refuse("ENOTSUP", `chain ${table.name} ${base}: ${what} at this hook`);
  for (const part of chain.rules.flat()) {
    if (part.kind === "masquerade" && (hook.type !== "nat" || hook.hook !== "postrouting")) refuseHere("masquerade");
    if (part.kind === "dnat" && (hook.type !== "nat" || !["prerouting", "output"].includes(hook.hook)))
      refuseHere("dnat");
    const target = part.kind === "jump" ? table.chains.get(part.chain) : undefined;
    if (target !== undefined) checkHooks(table, target, hook, base);
  }
}

function tableKey(family: NftFamily, name: string): string {
  return `${family} ${name}`;
}

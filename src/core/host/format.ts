/**
 * A host's state as text that reads like the output of `ip`, `bridge`, `sysctl` and `nft`: for golden tests, for what a
 * fake kernel shows of itself, and for comparing chains. Lines of one kind are sorted, so that equal states are equal
 * texts; only the rules of a chain keep their order.
 */
import { addressBits, bigIntToIp } from "../../model/ip.ts";
import { ROUTE_PROTOCOL } from "../../model/names.ts";
import {
  type HostState,
  type Link,
  MAIN_TABLE,
  type NftAddressField,
  type NftChain,
  type NftMap,
  type NftRule,
  type NftStatement,
  type NftTable,
  type Passage,
  type Route,
} from "./host-state.ts";

/** One line an object, nftables in blocks; ends with a newline unless the state is empty. */
export function formatHostState(state: HostState): string {
  const sections = [
    state.links.map(formatLink),
    state.addresses.map(({ dev, address }) => `addr ${address} dev ${dev}`),
    state.routes.map(formatRoute),
    state.rules.map(({ src, table, priority }) => `rule ${priority}: from ${src} lookup ${table}`),
    state.neighbors.map(({ dev, ip, mac }) => `neigh ${ip} dev ${dev} lladdr ${mac} PERMANENT`),
    state.fdb.map(({ dev, mac, dst }) => `fdb ${mac} dev ${dev} dst ${dst} self permanent`),
    state.shapers.map(({ dev, rate, burst }) => `qdisc tbf dev ${dev} rate ${rate}bps burst ${burst}b`),
    state.sysctls.map(({ path, value }) => `sysctl ${path} = ${value}`),
    state.tables.map(formatTable),
    state.passages.map(formatPassage),
  ];
  return sections
    .flatMap((lines) => lines.sort(byNumbersInText))
    .map((line) => `${line}\n`)
    .join("");
}

function formatLink(link: Link): string {
  const words = [`link ${link.name} ${link.kind}`];
  if (link.kind === "vxlan") {
    words.push(`id ${link.vni}`, ...(link.local === undefined ? [] : [`local ${link.local}`]));
    words.push(`dstport ${link.port}`, link.learning ? "learning" : "nolearning");
  }
  if (link.kind === "veth" && link.peer !== undefined)
    words.push(
      `peer ${link.peer.name} address ${link.peer.mac} mtu ${link.peer.mtu} netns ${link.peer.netns ?? "the same"}`,
    );
  if (link.mac !== undefined) words.push(`address ${link.mac}`);
  if (link.mtu !== undefined) words.push(`mtu ${link.mtu}`);
  words.push(link.up ? "up" : "down");
  if (link.alias !== undefined) words.push(`alias "${link.alias}"`);
  return words.join(" ");
}

function formatRoute(route: Route): string {
  const words = [`route ${route.type === "unreachable" ? "unreachable " : ""}${route.dst}`];
  if (route.via !== undefined) words.push(`via ${route.via}`);
  if (route.dev !== undefined) words.push(`dev ${route.dev}`);
  if (route.table !== MAIN_TABLE) words.push(`table ${route.table}`);
  words.push(`proto ${ROUTE_PROTOCOL}`);
  if (route.src !== undefined) words.push(`src ${route.src}`);
  if (route.metric !== 0) words.push(`metric ${route.metric}`);
  if (route.onlink === true) words.push("onlink");
  return words.join(" ");
}

function formatTable(table: NftTable): string {
  const blocks = [
    ...table.maps.map(formatMap).sort(byNumbersInText),
    ...table.chains.map(formatChain).sort(byNumbersInText),
  ];
  return `table ${table.family} ${table.name} {\n${blocks.map((block) => `${block}\n`).join("")}}`;
}

/** Two chains are equal when their texts are, unless a statement is unknown. */
export function formatChain(chain: NftChain): string {
  const { hook } = chain;
  const device = hook?.device === undefined ? "" : ` device "${hook.device}"`;
  const lines = [
    ...(hook === undefined
      ? []
      : [`type ${hook.type} hook ${hook.hook}${device} priority ${hook.priority}; policy ${hook.policy};`]),
    ...chain.rules.map(formatRule),
  ];
  return `  chain ${chain.name} {\n${lines.map((line) => `    ${line}\n`).join("")}  }`;
}

export function formatRule(rule: NftRule): string {
  return rule.map(formatStatement).join(" ");
}

function formatPassage({ family, chain, rules }: Passage): string {
  return `passage ${family} filter ${chain} {\n${rules.map((rule) => `  ${formatRule(rule)}\n`).join("")}}`;
}

function formatMap({ name, type, elements }: NftMap): string {
  const pairs = elements.map(([key, value]) => `      ${key} : ${value}\n`).sort(byNumbersInText);
  return `  map ${name} {\n    type ${type}\n${pairs.join("")}  }`;
}

function formatStatement(part: NftStatement): string {
  switch (part.kind) {
    case "match":
      return `${part.field} ${part.op === "!=" ? "!= " : ""}${part.prefix}`;
    case "iifname":
    case "oifname":
      return `${part.kind} "${part.device}"`;
    case "range":
      return `${part.field} ${part.first}${part.last === part.first ? "" : `-${part.last}`}`;
    case "arp saddr ip":
      return `arp saddr ip ${part.ip}`;
    case "ether saddr":
      return `ether saddr ${part.op === "!=" ? "!= " : ""}${part.mac}`;
    case "mapped":
      return `${part.field} map @${part.map} != ${part.field.startsWith("ip6") ? "::" : "0.0.0.0"}`;
    case "vmap":
      return `${part.field}${maskText(part.field, part.length)} vmap @${part.map}`;
    case "limit over":
      return `limit rate over ${part.rate} bytes/second burst ${part.burst} bytes`;
    case "dnat":
      return `dnat ${part.family} to ${part.key} map @${part.map}`;
    case "jump":
      return `jump ${part.chain}`;
    case "forward":
      return `fwd ${part.field.split(" ")[0]} to ${part.field} map @${part.map} device "${part.device}"`;
    case "comment":
      return `comment "${part.text}"`;
    case "unknown":
      return `# ${part.text}`;
    default:
      return part.kind;
  }
}

function maskText(field: NftAddressField, length: number): string {
  const family = field.startsWith("ip6") ? 6 : 4;
  const bits = addressBits(family);
  if (length === bits) return "";
  const ones = (1n << BigInt(bits)) - 1n;
  return ` & ${bigIntToIp(family, ones ^ (ones >> BigInt(length)))}`;
}

const collator = new Intl.Collator("en", { numeric: true });

function byNumbersInText(a: string, b: string): number {
  return collator.compare(a, b);
}

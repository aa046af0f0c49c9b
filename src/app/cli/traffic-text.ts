/**
 * Who talks to whom, as rates between two readings of an agent's counts, and sampled packets: the text of `weft top` and
 * `weft flows`. A table is as wide and as high as it is let, 80 columns where nobody says.
 *
 * No rate is negative: a count that began anew is taken whole.
 */
import type { z } from "zod";
import { type DatapathPath, FAST_PATHS, PATHS } from "../../core/host/datapath.ts";
import { ANY_ADDRESS } from "../../model/attachment.ts";
import type { Ip } from "../../model/ip.ts";
import type { endpointSchema } from "../agent/app.ts";
import type { flowsSchema, trafficSchema } from "../agent/datapath-routes.ts";
import { datapathLines } from "./status-text.ts";
import { type Column, renderTable } from "./table.ts";

export type TrafficView = z.infer<typeof trafficSchema>;
export type EndpointView = z.infer<typeof endpointSchema>;
export type FlowView = z.infer<typeof flowsSchema>["flows"][number];

export interface Rate {
  readonly packetsPerSecond: number;
  /** Of bytes from the IP header on. */
  readonly bitsPerSecond: number;
}

export type PairRate = Pick<TrafficView["pairs"][number], "source" | "destination" | "path"> & Rate;

/** What `weft top --json` prints. */
export interface TrafficRates {
  readonly datapath: TrafficView["datapath"];
  /** Between the two readings. */
  readonly seconds: number;
  readonly paths: Readonly<Partial<Record<DatapathPath, Rate>>>;
  /** Those that talked, the busiest first. */
  readonly pairs: readonly PairRate[];
}

interface Count {
  readonly packets: number;
  readonly bytes: number;
}

const NOTHING: Rate = { packetsPerSecond: 0, bitsPerSecond: 0 };

/** What happened between two readings; `undefined` where they are of two lives of the agent, whose clocks differ. */
export function trafficRates(before: TrafficView, now: TrafficView): TrafficRates | undefined {
  const seconds = (now.nowMs - before.nowMs) / 1_000;
  if (seconds <= 0) return undefined;
  // Another datapath came in the place of that one, and counts from nothing.
  const isAnew = PATHS.some((path) => isLess(now.paths[path] ?? { packets: 0, bytes: 0 }, before.paths[path]));
  const rate = (then: Count | undefined, { packets, bytes }: Count): Rate => {
    const base = then === undefined || isAnew || isLess({ packets, bytes }, then) ? { packets: 0, bytes: 0 } : then;
    return {
      packetsPerSecond: (packets - base.packets) / seconds,
      bitsPerSecond: ((bytes - base.bytes) * 8) / seconds,
    };
  };
  const known = new Map(before.pairs.map((pair) => [pairKey(pair), pair]));
  const pairs = now.pairs.map(({ source, destination, path, ...count }) => {
    const key = { source, destination, path };
    return { ...key, ...rate(known.get(pairKey(key)), count) };
  });
  const paths = PATHS.flatMap((path) => {
    const count = now.paths[path];
    return count === undefined ? [] : [[path, rate(before.paths[path], count)] as const];
  });
  return {
    datapath: now.datapath,
    seconds,
    paths: Object.fromEntries(paths),
    pairs: pairs.filter(({ packetsPerSecond }) => packetsPerSecond > 0).sort(busiestFirst),
  };
}

function isLess(now: Count, before: Count | undefined): boolean {
  return before !== undefined && (now.packets < before.packets || now.bytes < before.bytes);
}

function pairKey({ source, destination, path }: Pick<PairRate, "source" | "destination" | "path">): string {
  return `${source} ${destination} ${path}`;
}

function busiestFirst(a: Rate, b: Rate): number {
  return b.bitsPerSecond - a.bitsPerSecond || b.packetsPerSecond - a.packetsPerSecond;
}

// ---- weft top ----------------------------------------------------------------------------------------------------------

/** Containers by their addresses; those of one container have one id. */
export type Names = ReadonlyMap<Ip, { readonly id: string; readonly name: string }>;

export function namesOf(endpoints: readonly EndpointView[]): Names {
  return new Map(
    endpoints.flatMap(({ containerId, name, addresses }) =>
      name === undefined ? [] : addresses.map((address) => [address, { id: containerId, name }] as const),
    ),
  );
}

/** How much there is room for. */
export interface Room {
  readonly width?: number;
  /** Lines, the one that the cursor stands in included. */
  readonly height?: number;
  /** Pairs. */
  readonly rows?: number;
}

const SUM_COLUMNS: readonly Column[] = [
  { title: "PACKETS" },
  { title: "PACKETS/S", align: "right" },
  { title: "BITS/S", align: "right" },
  { title: "MAINLY", cut: true },
];

const PAIR_COLUMNS: readonly Column[] = [
  { title: "FROM", cut: true },
  { title: "TO", cut: true },
  { title: "PATH", cut: true },
  { title: "PACKETS/S", align: "right" },
  { title: "BITS/S", align: "right" },
];

export function trafficText(rates: TrafficRates, names: Names, room: Room = {}): string {
  const { width, height = Number.POSITIVE_INFINITY, rows = Number.POSITIVE_INFINITY } = room;
  const head = [...datapathLines(rates.datapath), "", ...sumsTable(rates, width).split("\n"), ""];
  const pairs = namedPairs(rates.pairs, names);
  if (pairs.length === 0) return [...head, "nobody talks"].join("\n");
  // Below the title and above the cursor, and above what says that there are more.
  const most = Math.min(rows, height - head.length - 2);
  const shown = pairs.length <= most ? most : Math.min(rows, height - head.length - 3);
  const table = renderTable(PAIR_COLUMNS, pairs.slice(0, Math.max(1, shown)).map(pairRow), width);
  const left = pairs.length - Math.max(1, shown);
  return [...head, table, ...(left > 0 ? [`and ${left} more`] : [])].join("\n");
}

const SUMS: readonly (readonly [string, DatapathPath])[] = [
  ["same host", "same-host"],
  ["by the VXLAN device", "tunnel"],
  ["encapsulated", "encapsulated"],
];
const REASONS_SHOWN = 3;

function sumsTable({ paths }: TrafficRates, width: number | undefined): string {
  const left = PATHS.filter((path) => !FAST_PATHS.includes(path))
    .map((path) => [path, paths[path] ?? NOTHING] as const)
    .filter(([, { packetsPerSecond }]) => packetsPerSecond > 0)
    .sort(([, a], [, b]) => b.packetsPerSecond - a.packetsPerSecond);
  const why = left
    .slice(0, REASONS_SHOWN)
    .map(([path, { packetsPerSecond }]) => `${words(path)} ${rateText(packetsPerSecond)}`);
  const rows = SUMS.map(([title, path]) => [title, ...ratesText(paths[path] ?? NOTHING)]);
  const kernel = left.reduce((sum, [, rate]) => plus(sum, rate), NOTHING);
  return renderTable(SUM_COLUMNS, [...rows, ["left to the kernel", ...ratesText(kernel), why.join(", ")]], width);
}

interface NamedPair extends Rate {
  readonly from: string;
  readonly to: string;
  readonly path: DatapathPath;
}

/** Those of one container's several addresses are one. */
function namedPairs(pairs: readonly PairRate[], names: Names): readonly NamedPair[] {
  const found = new Map<string, NamedPair>();
  for (const { source, destination, path, ...rate } of pairs) {
    const [from, to] = [whoIs(source, names), whoIs(destination, names)];
    const key = `${from.id} ${to.id} ${path}`;
    found.set(key, { from: from.name, to: to.name, path, ...plus(found.get(key) ?? NOTHING, rate) });
  }
  return [...found.values()].sort(busiestFirst);
}

const OUTSIDE = { id: "outside", name: "outside" };

function whoIs(address: Ip, names: Names): { readonly id: string; readonly name: string } {
  if (address === ANY_ADDRESS[4] || address === ANY_ADDRESS[6]) return OUTSIDE;
  return names.get(address) ?? { id: address, name: address };
}

function pairRow({ from, to, path, ...rate }: NamedPair): readonly string[] {
  return [from, to, pathText(path), ...ratesText(rate)];
}

function plus(a: Rate, b: Rate): Rate {
  return {
    packetsPerSecond: a.packetsPerSecond + b.packetsPerSecond,
    bitsPerSecond: a.bitsPerSecond + b.bitsPerSecond,
  };
}

/** `VXLAN device`, `kernel: not plain`. */
function pathText(path: DatapathPath): string {
  if (path === "tunnel") return "VXLAN device";
  return FAST_PATHS.includes(path) ? words(path) : `kernel: ${words(path)}`;
}

function words(path: DatapathPath): string {
  return path.replaceAll("-", " ").replace("tcp udp", "TCP/UDP").replace(/ ip$/, " IP");
}

function ratesText({ packetsPerSecond, bitsPerSecond }: Rate): readonly [string, string] {
  return [rateText(packetsPerSecond), rateText(bitsPerSecond)];
}

const UNITS = ["", "k", "M", "G", "T"];

/** Three digits at most: `0.4`, `12`, `1.2k`, `98.1M`. */
export function rateText(rate: number): string {
  let [value, unit] = [rate, 0];
  for (; Math.round(value) >= 1_000 && unit < UNITS.length - 1; unit++) value /= 1_000;
  const isWhole = unit === 0 && Number.isInteger(value);
  const digits = isWhole || value >= 99.95 || (unit === 0 && value >= 9.95) ? 0 : 1;
  return `${value.toFixed(digits)}${UNITS[unit]}`;
}

/** What draws a text over the one before: from the upper left corner on, each line and what is below cleared. */
export function redrawn(text: string, width: number, isFirst: boolean): string {
  const lines = text.split("\n").map((line) => (line.length > width ? `${line.slice(0, width - 1)}…` : line));
  return `${isFirst ? "\u001b[2J" : ""}\u001b[H${lines.map((line) => `${line}\u001b[K\n`).join("")}\u001b[J`;
}

// ---- weft flows --------------------------------------------------------------------------------------------------------

const PROTOCOLS: Readonly<Record<number, string>> = { 1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6" };

/** `9.0.1.2:43210 → 9.0.2.2:80 tcp 1448 B encapsulated`. */
export function flowText({ source, destination, protocol, path, length, ...ports }: FlowView): string {
  const [from, to] = [endText(source, ports.sourcePort), endText(destination, ports.destinationPort)];
  return `${from} → ${to} ${PROTOCOLS[protocol] ?? protocol} ${length} B ${pathText(path)}`;
}

function endText(address: Ip, port: number | undefined): string {
  if (port === undefined) return address;
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

/**
 * `weft capacity`: the room of networks and agents as text of at most 80 columns.
 */
import type { CapacityView } from "../master/capacity.ts";
import { type Column, countText, renderTable } from "./table.ts";

const NETWORK_COLUMNS: readonly Column[] = [
  { title: "NETWORK" },
  { title: "SPACE", cut: true },
  { title: "SLICES", align: "right" },
  { title: "USED", align: "right" },
  { title: "RESTING", align: "right" },
  { title: "STATE" },
];

const AGENT_COLUMNS: readonly Column[] = [
  { title: "HOST", cut: true },
  { title: "NETWORK" },
  { title: "IP" },
  { title: "FOR" },
  { title: "SLICES", align: "right" },
  { title: "USED", align: "right" },
  { title: "FREE", align: "right" },
  { title: "STATE" },
];

export function capacityText({ networks, agents }: CapacityView): string {
  const spaces = networks.flatMap(({ network, pools, exhausted }) =>
    pools.map(({ pool, used, resting = 0, size }) => [
      network,
      pool,
      ...[size, used, resting].map(countText),
      exhausted ? "exhausted" : "room",
    ]),
  );
  const rooms = agents.map(({ hostname, connected, network, family, runtime, slices, used, free, state }) => [
    hostname,
    network,
    `v${family}`,
    runtime,
    ...[slices, used, free].map(countText),
    connected ? state : `${state}, away`,
  ]);
  const tables = [renderTable(NETWORK_COLUMNS, spaces)];
  return [...tables, ...(rooms.length > 0 ? [`\n${renderTable(AGENT_COLUMNS, rooms)}`] : [])].join("\n");
}

/**
 * Leases and capacity as text of at most 80 columns.
 */
import type { z } from "zod";
import type { Capacity } from "../../core/ipam/capacity.ts";
import type { endpointSchema } from "../agent/app.ts";
import { type Column, countText, minuteOf, renderTable } from "./table.ts";

const CAPACITY_COLUMNS: readonly Column[] = [
  { title: "NETWORK" },
  { title: "FOR" },
  { title: "HALF", cut: true },
  { title: "SIZE", align: "right" },
  { title: "USED", align: "right" },
  { title: "RESTING", align: "right" },
  { title: "FREE", align: "right" },
  { title: "FULL", align: "right" },
];

/** `weft ipam show`. */
export function capacityTable(capacity: readonly Capacity[]): string {
  const rows = capacity.map(({ network, runtime, half, size, used, resting, free }) => [
    network,
    runtime,
    half,
    ...[size, used, resting, free].map(countText),
    `${size === 0 ? 100 : Math.floor((used / size) * 100)} %`,
  ]);
  return renderTable(CAPACITY_COLUMNS, rows);
}

/** Half an address is none: those are never cut. */
const ENDPOINT_COLUMNS: readonly Column[] = [
  { title: "CONTAINER", cut: true },
  { title: "RUNTIME", cut: true },
  { title: "NETWORK", cut: true },
  { title: "ADDRESS" },
  { title: "SINCE", cut: true },
];

/** Runtimes show so much of a container's id. */
const SHORT_ID = 12;

/** `weft endpoints`: one line for each address. A container goes by its name where it has one. */
export function endpointsTable(endpoints: readonly z.infer<typeof endpointSchema>[]): string {
  const rows = endpoints.flatMap(({ containerId, name, runtime, network, addresses, since, state }) => {
    const id = containerId.slice(0, SHORT_ID);
    const [first = "-", ...others] = addresses;
    const when = state === "pending" ? "on its way" : minuteOf(since);
    return [
      [name === undefined ? id : `${name} (${id})`, runtime || "-", network, first, when],
      ...others.map((address) => ["", "", "", address]),
    ];
  });
  return renderTable(ENDPOINT_COLUMNS, rows);
}

/**
 * What runs on a host as text of at most 80 columns: `weft tasks`. One line for each address of a task, the first of which
 * says what the task is; addresses are never cut.
 */
import type { z } from "zod";
import type { taskSchema } from "../agent/app.ts";
import { type Column, renderTable } from "./table.ts";

type TaskView = z.infer<typeof taskSchema>;

const COLUMNS: readonly Column[] = [
  { title: "TASK", cut: true },
  { title: "FRAMEWORK", cut: true },
  { title: "NETWORK", cut: true },
  { title: "ADDRESS" },
  { title: "PORTS", cut: true },
  { title: "HEALTH", cut: true },
];

export function tasksTable(tasks: readonly TaskView[]): string {
  return renderTable(COLUMNS, tasks.flatMap(rowsOf));
}

function rowsOf({ name, framework, runtime, networks, ports, health }: TaskView): readonly (readonly string[])[] {
  const where = networks.flatMap(({ network, addresses }) => addresses.map((address) => [network, address] as const));
  // A container of the host's own network has none.
  const [[network, address] = ["-", "-"], ...others] = where;
  const portsText = ports.map(portText).join(",") || "-";
  // A task that nobody put into a framework is in that of its runtime.
  const whose = framework === runtime ? framework : `${framework} (${runtime})`;
  return [
    [name, whose, network, address, portsText, health ?? "-"],
    ...others.map(([otherNetwork, other]) => ["", "", otherNetwork, other]),
  ];
}

/** As `docker ps` writes it: `8080->80/tcp`. */
function portText({ protocol, containerPort, hostPort, hostIp }: TaskView["ports"][number]): string {
  const own = `${containerPort}/${protocol}`;
  if (hostPort === undefined) return own;
  const host = hostIp?.includes(":") ? `[${hostIp}]` : hostIp;
  return `${host === undefined ? "" : `${host}:`}${hostPort}->${own}`;
}

/**
 * What a master and an agent say of themselves, as text of at most 80 columns. Tables show the state at one glance; what
 * is wrong follows in full below them, never cut.
 */
import type { z } from "zod";
import type { OverlayStatus } from "../../model/cluster.ts";
import { prefixesOf } from "../../model/network.ts";
import { programText } from "../../model/version.ts";
import type { agentStatusSchema } from "../agent/app.ts";
import type { datapathReportSchema } from "../agent/datapath-routes.ts";
import type { agentSchema, networkSchema, PoolView, statusSchema } from "../master/views.ts";
import { levelLines } from "./levels-text.ts";
import { type Column, countText, renderTable } from "./table.ts";

export type AgentStatusView = z.infer<typeof agentStatusSchema>;
export type DatapathReportView = z.infer<typeof datapathReportSchema>;
export type AgentView = z.infer<typeof agentSchema>;
export type NetworkView = z.infer<typeof networkSchema>;
export type StatusView = z.infer<typeof statusSchema>;

/** `weft status` of a master. */
export function masterText(
  address: string,
  status: StatusView,
  networks: readonly NetworkView[],
  agents: readonly AgentView[],
): string {
  const { connected, known } = status.agents;
  const problems = [
    ...agents.flatMap((agent) => agentProblems(agent)),
    ...status.refusedChanges.map((change) => `configuration change refused: ${change}`),
    ...status.warnings.map((warning) => `configuration: ${warning}`),
  ];
  const vteps = status.vteps.map((pool) => `${usage(pool)} in ${pool.pool}`);
  return [
    `master ${address}, version ${status.version}`,
    ...(status.leader === undefined ? [] : [`led by ${status.leader.url}, term ${status.leader.term}`]),
    `${connected} of ${known} agents connected`,
    `VTEP addresses: ${vteps.join(", ")}`,
    ...levelLines(agents),
    `\n${networksTable(networks)}`,
    ...(agents.length > 0 ? [`\n${agentsTable(agents)}`] : []),
    problemsText(problems),
  ].join("\n");
}

const NETWORK_COLUMNS: readonly Column[] = [
  { title: "NETWORK" },
  { title: "SUBNET", cut: true },
  { title: "SLICE" },
  { title: "AGENTS" },
  { title: "STATE" },
];

/** One line for each address family of each network. */
export function networksTable(networks: readonly NetworkView[]): string {
  const rows = networks.flatMap((network) =>
    network.pools.map((pool) => [
      network.name,
      pool.pool,
      `/${sliceLength(network, pool)}`,
      usage(pool),
      networkState(network),
    ]),
  );
  return renderTable(NETWORK_COLUMNS, rows);
}

function sliceLength(network: NetworkView, { kind, pool }: PoolView): number | undefined {
  const space = [network, ...(network.more ?? [])].find((each) => prefixesOf(each).includes(pool)) ?? network;
  return kind === "subnet6" ? space.prefix6 : space.prefix;
}

function networkState({ enabled, failed, agents, default: isDefault }: NetworkView): string {
  const state = failed > 0 ? `FAILED on ${failed} of ${agents}` : enabled ? "ok" : "disabled";
  return isDefault ? `${state}, default` : state;
}

function usage({ used, size }: PoolView): string {
  return `${used} of ${countText(size)}`;
}

const AGENT_COLUMNS: readonly Column[] = [
  { title: "HOST", cut: true },
  { title: "ADDRESS" },
  { title: "STATE" },
  { title: "AGENT" },
];

export function agentsTable(agents: readonly AgentView[]): string {
  const rows = agents.map((agent) => [agent.hostname, agent.ip, agentState(agent), agent.id]);
  return renderTable(AGENT_COLUMNS, rows);
}

function agentState({ connected, phase, statuses }: AgentView): string {
  if (!connected) return phase === undefined ? "away" : "away, draining";
  if (hasFailed(statuses)) return "FAILED";
  if (phase === undefined) return "connected";
  const left = statuses.reduce((sum, { containers = 0 }) => sum + containers, 0);
  return left === 0 ? "drained" : `draining, ${left} left`;
}

/** Whether one of the networks is not in place; scripts are told by the exit status. */
export function hasFailed(statuses: readonly OverlayStatus[]): boolean {
  return statuses.some(({ status }) => status === "STATUS_FAILED");
}

/** What an older agent lets pass; `undefined`: nothing. */
export function lackText(agent: AgentView): string | undefined {
  const { hostname, ip, lacks } = agent;
  if (lacks === undefined) return undefined;
  return `${hostname} (${ip}): does not enforce ${lacks.join("; ")}: its agent is ${programText(agent)}; upgrade it`;
}

function agentProblems(agent: AgentView): string[] {
  const { hostname, ip, statuses } = agent;
  const lack = lackText(agent);
  const failed = statuses
    .filter(({ status }) => status === "STATUS_FAILED")
    .map(({ name, error }) => `${hostname} (${ip}): network ${name}: ${error ?? "failed without a reason"}`);
  return lack === undefined ? failed : [...failed, lack];
}

/** `weft status --agent`. */
export function agentText(address: string, view: AgentStatusView): string {
  const { assignment } = view;
  const record = assignment?.agent;
  const who = record === undefined ? view.agentId : `${record.hostname} (${record.ip}, ${view.agentId})`;
  const peers = `${view.peers} peers${view.peersComplete ? "" : " so far"}`;
  const problems = [
    ...view.statuses.flatMap(({ name, error }) => (error === undefined ? [] : [`network ${name}: ${error}`])),
    ...view.peerProblems,
    ...(view.dockerProblems ?? []).map((problem) => `Docker: ${problem}`),
  ];
  return [
    `agent ${address}, version ${view.version}`,
    who,
    `${view.registered ? "registered" : "no master has answered yet"}; ${peers}; ${view.attachments} container interfaces`,
    ...(record === undefined ? [] : [`VTEP ${record.backend.vtepIp}, ${record.backend.vtepMac}`]),
    ...(view.datapath === undefined ? [] : datapathLines(view.datapath)),
    ...(record === undefined ? [] : [`\n${sharesTable(view)}`]),
    problemsText(problems),
  ].join("\n");
}

/** The level, why it is not higher, and below it what of it is left to the kernel. */
export function datapathLines({ level, reasons, notes }: DatapathReportView): readonly string[] {
  const why = reasons.length === 0 ? "" : ` (${reasons.join("; ")})`;
  return [`datapath: level ${level}${why}`, ...notes.map((note) => `  ${note}`)];
}

function sharesTable({ assignment, statuses }: AgentStatusView): string {
  const rows = (assignment?.agent.overlays ?? []).map((overlay) => [
    overlay.info.name,
    prefixesOf(overlay).join(", "),
    statuses.find(({ name }) => name === overlay.info.name)?.status ?? "STATUS_INVALID",
  ]);
  return renderTable([{ title: "NETWORK" }, { title: "SUBNETS", cut: true }, { title: "STATE" }], rows);
}

function problemsText(problems: readonly string[]): string {
  if (problems.length === 0) return "\nno problems";
  return `\nproblems:\n${problems.map((problem) => `  ${problem}`).join("\n")}`;
}

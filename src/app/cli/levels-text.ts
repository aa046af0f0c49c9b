/**
 * How the hosts of a cluster carry packets, as text: one line for each level and reason, with how many hosts have it and
 * the first of them by name, so that a thousand hosts are a few lines.
 */
import type { AgentView } from "./status-text.ts";

const NAMES_SHOWN = 3;

/** Nothing of agents that do not tell, and of those that are away. */
export function levelLines(agents: readonly Pick<AgentView, "hostname" | "connected" | "datapath">[]): string[] {
  const telling = agents.flatMap(({ hostname, connected, datapath }) =>
    connected && datapath !== undefined ? [{ hostname, ...datapath }] : [],
  );
  const groups = Map.groupBy(telling, ({ level, reasons }) => `${level} ${reasons.join("; ")}`);
  return [...groups.values()]
    .sort(([a], [b]) => (b?.level ?? 0) - (a?.level ?? 0))
    .map((group) => {
      const [{ level, reasons } = { level: 0, reasons: [] as string[] }] = group;
      const why =
        reasons.length === 0 ? "" : `: ${reasons.join("; ")} (${namesOf(group.map(({ hostname }) => hostname))})`;
      return `datapath level ${level} on ${group.length} ${group.length === 1 ? "host" : "hosts"}${why}`;
    });
}

function namesOf(names: readonly string[]): string {
  const more = names.length - NAMES_SHOWN;
  return [...names.slice(0, NAMES_SHOWN), ...(more > 0 ? [`${more} more`] : [])].join(", ");
}

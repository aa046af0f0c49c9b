/**
 * Who lives, and how agents are called: what a cluster asks of gossip.
 */
import type { Age } from "../../model/trust/standing.ts";

export interface Presence {
  /** The process that speaks for the agent; `undefined` while it does not answer. */
  instanceOf(agentId: string): string | undefined;
  /** Asks all agents to register again, because there is something new for them. */
  announce(): void;
  /** What agents were asked last; changes with each `announce` and each start. */
  readonly announcement: string;
  /** How old the newest word on the agent is that the cluster is known to have signed. */
  newestOf(agentId: string): Age | undefined;
  /** The greatest revision of a claim that the cluster is known to have signed; 0: none. */
  newestClaim(): number;
}

/**
 * Who lives, and how agents are called: what a cluster asks of gossip.
 */
export interface Presence {
  /** The process that speaks for the agent; `undefined` while it does not answer. */
  instanceOf(agentId: string): string | undefined;
  /** Asks all agents to register again, because there is something new for them. */
  announce(): void;
}

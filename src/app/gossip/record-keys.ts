/**
 * Keys of records that are not signed by the cluster: what a member says of itself, on its own word. Those that the cluster
 * signs stand with `Directory`.
 */

/** An agent's process, new at each start: tells a restart from a second process with the same identity. */
export const INSTANCE_KEY = "instance";
/** Labels of an agent's containers, as far as policies ask for them (model/policy-members.ts). */
export const MEMBERS_KEY = "members";
/** A master's announcement: an opaque text that changes when there is something new for agents to fetch. */
export const ANNOUNCEMENT_KEY = "announcement";

/**
 * `GET /v1/members`: who is in the gossip, as the process that is asked sees it. The same on agents and masters.
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { MemberView } from "../../core/gossip/gossip.ts";
import { DEAD, LEFT } from "../../core/gossip/messages.ts";
import { dateOf } from "../../io/clock.ts";
import type { Clock } from "../../io/ports.ts";
import { json } from "../http-api.ts";
import type { ClusterMember } from "./cluster-member.ts";

export const memberSchema = z
  .object({
    id: z.string(),
    /** The agent's id, or `master-` and the member's id; the id alone while its credential is not known. */
    name: z.string(),
    role: z.enum(["agent", "master"]).optional(),
    hostname: z.string().optional(),
    address: z.string(),
    /** `suspect`: alive for all that is known, but it does not answer this member just now. */
    status: z.enum(["alive", "suspect", "dead", "left"]),
    /** Starts of its process, as far as it remembers. */
    generation: z.number(),
    /** How often it contradicted that it was dead. */
    incarnation: z.number(),
    /** Smoothed round trip from the one that is asked, ms; absent when it never was measured. */
    rttMs: z.number().optional(),
    /** RFC 3339: since when the status holds here. */
    since: z.string(),
    isNeighbor: z.boolean(),
    isSelf: z.boolean(),
  })
  .openapi("Member");

export type MemberJson = z.infer<typeof memberSchema>;

export const membersSchema = z.object({
  /** Whether the one that is asked takes part yet. */
  joined: z.boolean(),
  members: z.array(memberSchema),
});

const MEMBERS = createRoute({
  method: "get",
  path: "/v1/members",
  summary: "The members of the gossip as this one sees them.",
  responses: { 200: json(membersSchema, "Members, by name.") },
});

/** @param member `undefined` while this process is none */
export function addMembersRoute(app: OpenAPIHono, member: () => ClusterMember | undefined, clock: Clock): void {
  app.openapi(MEMBERS, (context) => {
    const self = member();
    const views = self === undefined ? [] : [...self.gossip.members()].map((view) => jsonOf(view, self, clock));
    views.sort((a, b) => (a.name < b.name ? -1 : 1));
    return context.json({ joined: self?.hasJoined ?? false, members: views }, 200);
  });
}

function jsonOf(view: MemberView, self: ClusterMember, clock: Clock): MemberJson {
  const { head, inc, gen, rttMs, isNeighbor } = view;
  const role = self.directory.credentialOf(head.id)?.role;
  const hostname = self.directory.statementOf(head.id)?.hostname;
  return {
    id: head.id,
    name: self.nameOf(head.id),
    ...(role !== undefined && { role }),
    ...(hostname !== undefined && { hostname }),
    address: head.address,
    status: memberStatusOf(view),
    // The low bits are chance.
    generation: Math.floor(gen / 2 ** 20),
    incarnation: inc,
    ...(rttMs > 0 && { rttMs: Math.round(rttMs * 100) / 100 }),
    since: wallTimeOf(view.since, clock),
    isNeighbor,
    isSelf: head.id === self.id,
  };
}

export function memberStatusOf({ status, isSuspect }: MemberView): MemberJson["status"] {
  if (status === DEAD) return "dead";
  if (status === LEFT) return "left";
  return isSuspect ? "suspect" : "alive";
}

/** A moment of the clock that never goes back, as the wall clock has it now. */
function wallTimeOf(ms: number, clock: Clock): string {
  return dateOf(Date.parse(clock.date()) - (clock.now() - ms));
}

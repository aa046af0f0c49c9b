/**
 * The master's calls about reserved addresses: `/v1/reservations` for operators, and the one by which an agent asks to host
 * one. Where they are kept is the book's business.
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { claimRequestSchema, claimsSchema } from "../../io/messages.ts";
import type { ClaimRequest } from "../../io/ports.ts";
import { Fault } from "../../model/fault.ts";
import { RESERVATIONS_MAX } from "../../model/limits.ts";
import type { Overlay } from "../../model/network.ts";
import {
  type Claim,
  claimSchema,
  type Reservation,
  reservationSchema,
  reservedNameSchema,
  reservedUseSchema,
  unreservable,
} from "../../model/reservation.ts";
import { agentIdSchema } from "../../model/schemas.ts";
import { json, REFUSED } from "../http-api.ts";
import type { Reservations } from "./reservations.ts";
import { requireSameAgent } from "./trust-routes.ts";

const hostedBySchema = z.object({ agent: z.string(), claim: claimSchema });
const useSchema = z.intersection(reservedUseSchema, z.object({ agent: z.string() }));
/** What is reserved, which containers have it now, and which agents host it by the cluster's word. */
export const reservationsSchema = z.object({
  reservations: z.array(reservationSchema),
  uses: z.array(useSchema),
  claims: z.array(hostedBySchema),
  /** Names of the agents' hosts, by their ids. */
  hostnames: z.record(z.string(), z.string()),
});
export type ReservationsView = z.infer<typeof reservationsSchema>;

const params = z.object({ network: z.string().max(64), name: reservedNameSchema });
const bodySchema = z.object({ reservation: reservationSchema });
const LIST = createRoute({
  method: "get",
  path: "/v1/reservations",
  summary: "All reserved addresses, by network and name, with who has them.",
  responses: { 200: json(reservationsSchema, "Reservations.") },
});
const PUT = createRoute({
  method: "put",
  path: "/v1/reservations/{network}/{name}",
  summary: "Reserves addresses for a name, or other ones than before. By the Unix socket, or with an operator's token.",
  request: { params, body: { required: true, content: { "application/json": { schema: bodySchema } } } },
  responses: { 200: json(bodySchema, "The reservation."), ...REFUSED },
});
const REMOVE = createRoute({
  method: "delete",
  path: "/v1/reservations/{network}/{name}",
  summary: "Ends a reservation that no container of the name uses. By the Unix socket, or with an operator's token.",
  request: { params },
  responses: { 200: json(z.object({ removed: z.string() }), "Its name."), ...REFUSED },
});
const CLAIM = createRoute({
  method: "post",
  path: "/v1/agents/{id}/claims",
  summary: "An agent asks to host reserved addresses for a container; it registers then for the signed word on it.",
  request: {
    params: z.object({ id: agentIdSchema }),
    body: { required: true, content: { "application/json": { schema: claimRequestSchema } } },
  },
  responses: { 200: json(claimsSchema, "What it hosts for the name."), ...REFUSED },
});

export interface ReservationRouteDeps {
  readonly book: Reservations;
  /** @throws Fault unless the caller may change reservations */
  readonly requireOperator: (context: Context) => void;
  /** The operator, in the words of the event log. */
  readonly whoOf: (context: Context) => string;
  readonly networks: () => readonly Overlay[];
  readonly hostnames: () => Readonly<Record<string, string>>;
  /** @throws Fault unless the agent itself calls */
  readonly claim: (request: ClaimRequest, context: Context) => readonly Claim[];
}

export function addReservationRoutes(app: OpenAPIHono, deps: ReservationRouteDeps): void {
  app.openapi(LIST, (context) => context.json(viewOf(deps), 200));
  app.openapi(PUT, (context) => {
    deps.requireOperator(context);
    const { reservation } = context.req.valid("json");
    checkReservation(reservation, context.req.valid("param"), deps);
    deps.book.put(reservation, deps.whoOf(context));
    return context.json({ reservation }, 200);
  });
  app.openapi(REMOVE, (context) => {
    deps.requireOperator(context);
    const { network, name } = context.req.valid("param");
    if (!deps.book.remove(network, name, deps.whoOf(context)))
      throw new Fault(
        "bad-request",
        `nothing is reserved for ${name} in network ${network}; 'weft reservations' shows what is`,
        { network, name },
      );
    return context.json({ removed: name }, 200);
  });
  app.openapi(CLAIM, (context) => {
    const request = context.req.valid("json");
    requireSameAgent(request.agentId, context.req.valid("param").id);
    return context.json({ claims: [...deps.claim(request, context)] }, 200);
  });
}

function viewOf({ book, hostnames }: ReservationRouteDeps): ReservationsView {
  const names = hostnames();
  return {
    reservations: [...book.list()],
    uses: [...book.uses()],
    claims: Object.keys(names).flatMap((agent) => book.hostedBy(agent).map((claim) => ({ agent, claim }))),
    hostnames: { ...names },
  };
}

/** @throws Fault bad-request, unknown-network, address-taken, exhausted */
function checkReservation(
  { network, name, addresses }: Reservation,
  path: { readonly network: string; readonly name: string },
  { book, networks }: ReservationRouteDeps,
): void {
  if (name !== path.name || network !== path.network)
    throw new Fault(
      "bad-request",
      `the reservation is for ${network}/${name}, the call for ${path.network}/${path.name}`,
    );
  const overlay = networks().find((each) => each.name === network);
  if (overlay === undefined)
    throw new Fault("unknown-network", `there is no network ${network}; see 'weft networks'`, { network });
  for (const address of addresses) {
    const problem = unreservable(address, overlay);
    if (problem !== undefined) throw new Fault("bad-request", `${address} ${problem}`, { network, ip: address });
  }
  const others = book.list().filter((each) => each.network !== network || each.name !== name);
  for (const other of others) {
    const twice = other.addresses.find((address) => addresses.includes(address));
    if (twice !== undefined)
      throw new Fault(
        "address-taken",
        `${twice} is reserved for ${other.name} in network ${other.network} already; 'weft reserve --remove' ends that`,
        { ip: twice, reservedFor: other.name },
      );
  }
  if (others.length >= RESERVATIONS_MAX)
    throw new Fault("exhausted", `there are ${RESERVATIONS_MAX} reservations already; remove one first`);
}

/**
 * What changed in the control plane, by whom, and how it was before: `/v1/events` and `/v1/state`. Reading is open to all,
 * but for how it was: that reads all events since, and is for operators. Secrets are not shown.
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { shownEntries, shownEvent } from "../../core/control/history.ts";
import { eventBytes, firstWithin } from "../../core/control/pieces.ts";
import type { ControlEvent } from "../../model/control-event.ts";
import { EVENTS_READ_MAX_BYTES, EVENTS_SHOWN_MAX } from "../../model/control-limits.ts";
import { json, REFUSED } from "../http-api.ts";
import type { MasterApiDeps } from "./api.ts";
import type { Book } from "./book.ts";
import { requireOperator } from "./trust-routes.ts";

const revisionSchema = z.coerce.number().int().min(0);

export const eventSchema = z
  .object({
    revision: z.number(),
    at: z.string(),
    who: z.string(),
    what: z.string(),
    changes: z.array(z.object({ key: z.string(), before: z.unknown().optional(), after: z.unknown().optional() })),
  })
  .openapi("Event");

export const stateSchema = z
  .object({ revision: z.number(), entries: z.record(z.string(), z.unknown()) })
  .openapi("ControlState");

const EVENTS = createRoute({
  method: "get",
  path: "/v1/events",
  summary:
    "Changes of the control plane, the oldest first: those after a revision, or the last ones. Fewer than asked for when they are large.",
  request: {
    query: z.object({
      after: revisionSchema.optional(),
      limit: z.coerce.number().int().min(1).max(EVENTS_SHOWN_MAX).default(50),
    }),
  },
  responses: { 200: json(z.object({ events: z.array(eventSchema) }), "Events."), ...REFUSED },
});
const STATE = createRoute({
  method: "get",
  path: "/v1/state",
  summary: "All entries of the control plane, now, or for operators as of a revision.",
  request: { query: z.object({ at: revisionSchema.optional() }) },
  responses: { 200: json(stateSchema, "Entries by key, without secrets."), ...REFUSED },
});

export function addHistoryRoutes(app: OpenAPIHono, deps: MasterApiDeps): void {
  const { book } = deps.cluster;
  app.openapi(EVENTS, async (context) => {
    const { after, limit } = context.req.valid("query");
    await book.durable();
    const events = after === undefined ? await lastEvents(book, limit) : await book.events(after, limit);
    const shown = events
      .map(shownEvent)
      .map((event) => ({ ...event, changes: event.changes.map((each) => ({ ...each })) }));
    return context.json({ events: shown }, 200);
  });
  app.openapi(STATE, async (context) => {
    const { at } = context.req.valid("query");
    if (at !== undefined) requireOperator(context, deps);
    await book.durable();
    const { revision, entries } = at === undefined ? book.state() : await book.stateAt(at);
    return context.json({ revision, entries: shownEntries(entries) }, 200);
  });
}

/** As many of the last ones as an answer holds. */
async function lastEvents(book: Book, limit: number): Promise<readonly ControlEvent[]> {
  let newest: readonly ControlEvent[] = [];
  for await (const events of book.eventsBetween(Math.max(0, book.revision - limit), book.revision))
    newest = firstWithin([...events.toReversed(), ...newest], eventBytes, EVENTS_READ_MAX_BYTES);
  return newest.toReversed();
}

/**
 * What changed in the control plane, by whom, and how it was before: `/v1/events` and `/v1/state`. Reading is open to all;
 * secrets are not shown.
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { shownEntries, shownEvent, stateAt } from "../../core/control/history.ts";
import type { ControlEvent } from "../../model/control-event.ts";
import { EVENTS_AT_ONCE_MAX, EVENTS_SHOWN_MAX } from "../../model/limits.ts";
import { json, REFUSED } from "../http-api.ts";
import type { MasterApiDeps } from "./api.ts";
import type { Book } from "./book.ts";

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
  summary: "Changes of the control plane, the oldest first: those after a revision, or the last ones.",
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
  summary: "All entries of the control plane, now or as of a revision.",
  request: { query: z.object({ at: revisionSchema.optional() }) },
  responses: { 200: json(stateSchema, "Entries by key, without secrets."), ...REFUSED },
});

export function addHistoryRoutes(app: OpenAPIHono, { cluster }: MasterApiDeps): void {
  const { book } = cluster;
  app.openapi(EVENTS, async (context) => {
    const { after, limit } = context.req.valid("query");
    await book.durable();
    const events = await book.events(after ?? Math.max(0, book.revision - limit), limit);
    const shown = events
      .map(shownEvent)
      .map((event) => ({ ...event, changes: event.changes.map((each) => ({ ...each })) }));
    return context.json({ events: shown }, 200);
  });
  app.openapi(STATE, async (context) => {
    const { at } = context.req.valid("query");
    await book.durable();
    const now = book.state();
    const { revision, entries } =
      at === undefined ? now : stateAt(at, now, await eventsBetween(book, at, now.revision));
    return context.json({ revision, entries: shownEntries(entries) }, 200);
  });
}

/** Those later than `after`, up to `last`. */
async function eventsBetween(book: Book, after: number, last: number): Promise<readonly ControlEvent[]> {
  const found: ControlEvent[] = [];
  for (let at = after; at < last; at = found.at(-1)?.revision ?? last) {
    const more = await book.events(at, EVENTS_AT_ONCE_MAX * 10);
    if (more.length === 0) break;
    found.push(...more.filter(({ revision }) => revision <= last));
  }
  return found;
}

/**
 * A whole control plane as one JSON text, entries and history: `weft store export` writes it, `weft store import` reads
 * it. Entries are sorted by key, and each stands on a line of its own, so that two exports of the same state are the same
 * bytes, and the difference of two is a diff.
 */
import { z } from "zod";
import { canonicalJson } from "../../model/canonical-json.ts";
import type { ControlEvent, ControlState } from "../../model/control-event.ts";
import { CHANGES_MAX } from "../../model/control-limits.ts";
import { Fault } from "../../model/fault.ts";
import { issuesOf } from "../../model/schemas.ts";

export interface ControlDump extends ControlState {
  /** Those that are kept, by revision; the last one's is the state's. */
  readonly events: readonly ControlEvent[];
}

const VERSION = 1;

const changeSchema = z.strictObject({
  key: z.string().min(1),
  before: z.unknown().optional(),
  after: z.unknown().optional(),
});
const eventSchema = z.strictObject({
  revision: z.int().min(1),
  at: z.string(),
  who: z.string(),
  what: z.string(),
  changes: z.array(changeSchema).max(CHANGES_MAX),
});
const headSchema = z.object({ weft: z.literal("store"), version: z.int() });
const dumpSchema = z.strictObject({
  weft: z.literal("store"),
  version: z.literal(VERSION),
  revision: z.int().min(0),
  entries: z.record(z.string().min(1), z.unknown()),
  events: z.array(eventSchema),
});

export function dumpText({ revision, entries, events }: ControlDump): string {
  const sorted = [...entries].sort(([a], [b]) => (a < b ? -1 : 1));
  const lines = sorted.map(([key, value]) => `${JSON.stringify(key)}: ${canonicalJson(value)}`);
  const history = events.map(({ changes, ...event }) =>
    JSON.stringify({
      ...event,
      changes: changes.map(({ key, before, after }) => ({
        key,
        ...(before !== undefined && { before }),
        ...(after !== undefined && { after }),
      })),
    }),
  );
  const head = `"weft": "store", "version": ${VERSION}, "revision": ${revision}`;
  return `{${head},\n"entries": {\n${lines.join(",\n")}\n},\n"events": [\n${history.join(",\n")}\n]}\n`;
}

/** @throws Fault undecodable, unsupported-version */
export function parseDump(text: string): ControlDump {
  const json = parsed(text);
  const head = headSchema.safeParse(json);
  if (!head.success) throw bad("it is no export of 'weft store export'");
  if (head.data.version !== VERSION)
    throw new Fault(
      "unsupported-version",
      `the export has version ${head.data.version}, this program reads version ${VERSION}; import it with the version of weft that wrote it`,
    );
  const found = dumpSchema.safeParse(json);
  if (!found.success) throw bad(issuesOf(found.error)[0] ?? "");
  const { revision, events } = found.data;
  const entries = new Map(Object.entries(found.data.entries));
  requireHistory(revision, events as ControlEvent[]);
  requireAgreement(entries, events as ControlEvent[]);
  return { revision, entries, events: events as ControlEvent[] };
}

function requireHistory(revision: number, events: readonly ControlEvent[]): void {
  const last = events.at(-1)?.revision ?? 0;
  if (last !== revision) throw bad(`its revision is ${revision}, and its last event has ${last}`);
  const first = events[0]?.revision ?? 1;
  for (const [index, event] of events.entries())
    if (event.revision !== first + index) throw bad(`event ${first + index} is missing`);
}

/** What events left behind is what is there: otherwise no earlier state could be told. */
function requireAgreement(entries: ReadonlyMap<string, unknown>, events: readonly ControlEvent[]): void {
  const settled = new Set<string>();
  for (const { revision, changes } of events.toReversed())
    for (const { key, after } of changes) {
      if (settled.has(key)) continue;
      settled.add(key);
      if (jsonOf(entries.get(key)) !== jsonOf(after))
        throw bad(`entry ${key} is not as event ${revision} left it; the file was changed by hand, or is damaged`);
    }
}

function jsonOf(value: unknown): string | undefined {
  return value === undefined ? undefined : canonicalJson(value);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw bad("it is no JSON");
  }
}

function bad(why: string): Fault {
  return new Fault("undecodable", `the export cannot be read: ${why}`);
}

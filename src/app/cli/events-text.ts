/**
 * Events of the control plane as text of at most 80 columns: one line for each, and what does not fit goes on below it.
 * Nothing is cut but the tails of agents' ids, which `--changes` and `--json` have in full.
 */
import type { z } from "zod";
import type { eventSchema } from "../master/history-routes.ts";

export type Event = z.infer<typeof eventSchema>;

const WIDTH = 80;
const GAP = "  ";
const REVISION_WIDTH = 5;
const TIME_WIDTH = "2026-11-21T17:02:05Z".length;
const WHO_WIDTH = "operator (socket)".length;
const UUID = /\b([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/g;

export function eventsTitle(): string {
  return columns("REV", "TIME", "WHO", "WHAT");
}

/** @param withChanges each entry before and after, too */
export function eventText({ revision, at, who, what, changes }: Event, withChanges: boolean): string {
  const by = shortened(who);
  const left = columns(String(revision), at, by, "");
  const [first = "", ...more] = wrapped(shortened(what), WIDTH - left.length);
  const margin = " ".repeat(left.length);
  const lines = [left + first, ...more.map((line) => margin + line)];
  if (!withChanges) return lines.join("\n");
  const entries = changes.flatMap(({ key, before, after }) => [
    ...(before === undefined ? [] : [`  - ${key} ${JSON.stringify(before)}`]),
    ...(after === undefined ? [] : [`  + ${key} ${JSON.stringify(after)}`]),
  ]);
  return [...lines, ...entries].join("\n");
}

function columns(revision: string, at: string, who: string, what: string): string {
  return [revision.padStart(REVISION_WIDTH), at.padEnd(TIME_WIDTH), who.padEnd(WHO_WIDTH), what].join(GAP);
}

function shortened(text: string): string {
  return text.replace(UUID, "$1…");
}

/** Lines of whole words; a word that is longer than a line is cut in pieces. */
function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  for (let rest = text; rest !== ""; ) {
    const space = rest.length <= width ? rest.length : rest.lastIndexOf(" ", width);
    const end = space > 0 ? space : width;
    lines.push(rest.slice(0, end));
    rest = rest.slice(end).trimStart();
  }
  return lines;
}

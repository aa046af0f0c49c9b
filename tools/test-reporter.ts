/**
 * How `npm test` shows the runner's events: one line a file, each failure where it happens and its name at the end, then by
 * name what was skipped and why, then the runner's own counts. Nothing here counts anything itself.
 */
import { relative } from "node:path";
import type { TestEvent } from "node:test/reporters";
import { inspect } from "node:util";

interface Skipped {
  readonly name: string;
  readonly reason: string;
}

/** The runner's events in, text out. @param lastWords stands before the counts */
export async function* report(events: AsyncIterable<TestEvent>, lastWords = ""): AsyncGenerator<string> {
  const failures: string[] = [];
  const skipped: Skipped[] = [];
  const counts: string[] = [];
  for await (const event of events) {
    if (event.type === "test:fail" && !isParentOfFailure(event.data.details.error)) {
      const name = `✖ ${placeOf(event.data)} ${event.data.name}\n`;
      failures.push(name);
      yield `${name}${indent(explain(event.data.details.error))}\n`;
    }
    if (event.type === "test:pass" && event.data.skip !== undefined)
      skipped.push({ name: event.data.name, reason: reasonOf(event.data.skip) });
    if (event.type === "test:summary" && event.data.file !== undefined) yield fileLine(event.data);
    if (event.type === "test:stderr") yield event.data.message;
    if (event.type === "test:diagnostic" && event.data.nesting === 0 && /^\w+ [\d.]+$/.test(event.data.message))
      counts.push(event.data.message);
  }
  if (failures.length > 0) yield `\nfailed:\n${failures.join("")}`;
  if (skipped.length > 0) yield `\nskipped:\n${skippedLines(skipped)}`;
  yield `\n${lastWords}${counts.map((count) => `ℹ ${count}\n`).join("")}`;
}

/** Skips of one reason together. */
function skippedLines(skipped: readonly Skipped[]): string {
  const reasons = [...new Set(skipped.map(({ reason }) => reason))];
  return reasons
    .map((reason) => {
      const names = skipped.filter((skip) => skip.reason === reason).map(({ name }) => `    ${name}\n`);
      return `  because ${reason}:\n${names.join("")}`;
    })
    .join("");
}

function reasonOf(skip: string | boolean): string {
  return typeof skip === "string" && skip !== "" ? skip : "no reason given";
}

function fileLine(summary: {
  readonly file: string | undefined;
  readonly success: boolean;
  readonly duration_ms: number;
  readonly counts: { readonly tests: number };
}): string {
  const { file, success, duration_ms, counts } = summary;
  const seconds = (duration_ms / 1000).toFixed(1);
  return `${success ? "✔" : "✖"} ${relative(process.cwd(), file ?? "")} (${counts.tests} tests, ${seconds} s)\n`;
}

function placeOf(data: { readonly file?: string; readonly line?: number }): string {
  return data.file === undefined ? "" : `${relative(process.cwd(), data.file)}:${data.line ?? 1}`;
}

function isParentOfFailure(error: unknown): boolean {
  return (error as { failureType?: string } | undefined)?.failureType === "subtestsFailed";
}

/** The error that the test threw, without the runner's wrapping. */
function explain(error: unknown): string {
  const cause = (error as { cause?: unknown } | undefined)?.cause ?? error;
  return typeof cause === "string" ? cause : inspect(cause, { depth: 6 });
}

function indent(text: string): string {
  return text.replace(/^/gm, "    ");
}

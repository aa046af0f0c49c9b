/**
 * What happened in a run, one line each in at most 80 columns: virtual time, member, event. And a fingerprint of
 * everything that happened, sends included, by which two runs are the same run.
 */
import type { GossipEvent } from "../src/core/gossip/context.ts";
import type { MemberId } from "../src/core/gossip/messages.ts";
import type { Step } from "./scenario.ts";

const COLUMNS = 80;

export class Transcript {
  readonly lines: string[] = [];
  readonly #print: ((line: string) => void) | undefined;
  #hash = 0x811c9dc5;

  /** @param print told each line as it comes */
  constructor(print?: (line: string) => void) {
    this.#print = print;
  }

  /** Of all that was noted and said. */
  get fingerprint(): string {
    return (this.#hash >>> 0).toString(16).padStart(8, "0");
  }

  note(...numbers: readonly number[]): void {
    for (const number of numbers) this.#hash = Math.imul(this.#hash ^ Math.floor(number * 1_000), 0x01000193);
  }

  say(atMs: number, who: string, text: string): void {
    const line = `${(atMs / 1_000).toFixed(3).padStart(9)} s  ${who.padEnd(4)} ${text}`;
    for (const char of line) this.#hash = Math.imul(this.#hash ^ char.charCodeAt(0), 0x01000193);
    for (const part of fold(line)) {
      this.lines.push(part);
      this.#print?.(part);
    }
  }
}

/** The line, cut at spaces; what follows is set in. */
export function fold(line: string): string[] {
  const parts: string[] = [];
  let rest = line;
  while (rest.length > COLUMNS) {
    const space = rest.lastIndexOf(" ", COLUMNS);
    const at = space > 24 ? space : COLUMNS;
    parts.push(rest.slice(0, at));
    rest = `${" ".repeat(18)}${rest.slice(at).trimStart()}`;
  }
  return [...parts, rest];
}

export function eventText(event: GossipEvent, nameOf: (id: MemberId) => string): string {
  switch (event.type) {
    case "joined":
      return `has joined, knows ${event.members}`;
    case "suspect":
      return `suspects ${nameOf(event.id)}`;
    case "accused":
      return `accuses ${nameOf(event.id)}, ${event.testimonies} testimonies`;
    case "refuted":
      return `says that it lives, inc ${event.inc}`;
    case "one-way":
      return `finds the way ${event.direction} ${nameOf(event.id)} broken`;
    case "paused":
      return `stood still for ${Math.round(event.ms)} ms`;
    case "healed":
      return `reached ${nameOf(event.id)} again`;
    case "gen-jumped":
      return "begins anew: another life of it spoke";
    case "deaf":
      return "is deaf";
  }
}

export function stepText(step: Step): string {
  const { at: _, do: verb, ...rest } = step;
  const words = Object.entries(rest)
    .filter(([name]) => name !== "member")
    .map(([name, value]) => `${name} ${typeof value === "number" ? Math.round(value * 100) / 100 : value}`);
  return [verb, ...words].join(" ");
}

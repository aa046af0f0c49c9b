/**
 * Which keys of etcd hold the control plane, and what is in them, under `/weft/v1/`:
 *
 * - `leader`: `{id, url}` of who leads, with its lease. The revision of etcd that wrote it is the number of the term: every
 *   write names it, and is refused once another one stands there.
 * - `revision`: that of the last event; absent in a new store.
 * - `entry/KEY`: the value as JSON.
 * - `event/NUMBER`: the event as JSON, with the term that wrote it; 16 digits, so that keys sort as numbers do.
 */
import { z } from "zod";
import type { ControlEvent } from "../../../model/control-event.ts";
import { Fault, messageOf } from "../../../model/fault.ts";
import type { MasterAddress } from "../../ports.ts";
import type { KeyValue } from "./etcd-messages.ts";

const VERSION = "v1";
/** Stands in for the revision while an import writes: no master takes half of one for the whole. */
export const IMPORTING = "importing";
const REVISION_DIGITS = 16;

export class Layout {
  /** Between these two are the keys of all versions. */
  readonly versions: string;
  readonly versionsEnd: string;
  readonly own: string;
  readonly leader: string;
  readonly revision: string;
  readonly entries: string;
  readonly entriesEnd: string;

  constructor(prefix: string) {
    this.versions = `${prefix}/v`;
    this.versionsEnd = endOf(this.versions);
    this.own = `${prefix}/${VERSION}/`;
    this.leader = `${this.own}leader`;
    this.revision = `${this.own}revision`;
    this.entries = `${this.own}entry/`;
    this.entriesEnd = endOf(this.entries);
  }

  /** Whether another version of Weft wrote this key, one of those between. */
  isForeign(key: string): boolean {
    return /^\d+\//.test(key.slice(this.versions.length));
  }

  entry(key: string): string {
    return this.entries + key;
  }

  event(revision: number): string {
    return `${this.own}event/${String(revision).padStart(REVISION_DIGITS, "0")}`;
  }

  get eventsEnd(): string {
    return endOf(`${this.own}event/`);
  }

  leaderOf({ value }: KeyValue): MasterAddress {
    const parsed = leaderSchema.safeParse(jsonOf(value));
    if (parsed.success) return parsed.data;
    throw corrupt(this.leader);
  }

  /** @param found what is at `revision` @throws Fault corrupt-store */
  headOf(found: KeyValue | undefined): number {
    if (found === undefined) return 0;
    if (found.value === IMPORTING)
      throw new Fault(
        "corrupt-store",
        "an import into etcd runs, or broke off; when none runs, import once more: weft store import --replace",
        { key: this.revision },
      );
    const head = Number(found.value);
    if (Number.isSafeInteger(head) && head > 0) return head;
    throw corrupt(this.revision);
  }

  /** @throws Fault corrupt-store */
  entryOf({ key, value }: KeyValue): [string, unknown] {
    try {
      return [key.slice(this.entries.length), JSON.parse(value) as unknown];
    } catch (thrown) {
      throw corrupt(key, thrown);
    }
  }

  /** @throws Fault corrupt-store */
  eventOf({ key, value }: KeyValue): ControlEvent {
    const parsed = eventSchema.safeParse(jsonOf(value));
    if (!parsed.success) throw corrupt(key, parsed.error);
    return parsed.data as ControlEvent;
  }
}

/** What `event` holds. Two terms never write the same text, so that a writer finds out what became of its own. */
export function eventText(event: ControlEvent, term: number): string {
  return JSON.stringify({ ...event, term });
}

/** The first key after all that begin so. */
export function endOf(prefix: string): string {
  return prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);
}

const leaderSchema = z.object({ id: z.string(), url: z.string() });
const eventSchema = z.object({
  revision: z.int().min(1),
  at: z.string(),
  who: z.string(),
  what: z.string(),
  changes: z.array(z.object({ key: z.string(), before: z.unknown().optional(), after: z.unknown().optional() })),
});

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

export function corrupt(key: string, cause?: unknown): Fault {
  const why = cause === undefined ? "" : ` (${messageOf(cause)})`;
  return new Fault(
    "corrupt-store",
    `the key ${key} in etcd is damaged${why}: something else than Weft wrote it; restore etcd from a snapshot`,
    { key },
    { cause },
  );
}

/**
 * Shortages as history: each is an entry while it lasts, so its beginning and its end are events, once, whoever leads.
 * What is written is compared with what is so; what could not be written is written by a later look. What goes to and fro
 * makes no storm: between two events of one shortage lies SHORTAGE_HOLD_MS.
 */
import type { Clock } from "../../io/ports.ts";
import type { AgentRecord, OverlayStatus } from "../../model/cluster.ts";
import { SHORTAGE_CHECK_MS, SHORTAGE_HOLD_MS } from "../../model/control-limits.ts";
import { Fault } from "../../model/fault.ts";
import {
  type AddressShortage,
  type Shortage,
  type SliceShortage,
  shortageKey,
  shortageTeller,
  shortageText,
} from "../../model/shortage.ts";
import type { Deed } from "./book.ts";
import type { ControlRecords } from "./control-records.ts";

export interface ShortagesDeps {
  readonly clock: Clock;
  readonly records: Pick<ControlRecords, "shortages" | "putShortage" | "deleteShortage">;
  /** @throws Fault storage */
  readonly write: (deed: Deed, make: (records: ControlRecords) => void) => void;
  /** Networks that have no slice left, as was noted last. */
  readonly slices: () => readonly SliceShortage[];
  /** Notes them anew: what has rested is free again by time alone. */
  readonly look: () => void;
  readonly isKnown: (agentId: string) => boolean;
}

export class Shortages {
  readonly #deps: ShortagesDeps;
  readonly #written: Map<string, Shortage>;
  /** As agents told last; of those that told this master nothing yet, as it is written. */
  readonly #onHosts = new Map<string, AddressShortage>();
  /** When each had its last event in this term. */
  readonly #turned = new Map<string, number>();
  #cancelWatch: () => void = () => {};

  /** @throws Fault corrupt-store */
  constructor(deps: ShortagesDeps) {
    this.#deps = deps;
    this.#written = new Map(deps.records.shortages().map((each) => [shortageKey(each), each]));
    for (const [key, each] of this.#written)
      if ("agent" in each && deps.isKnown(each.agent)) this.#onHosts.set(key, each);
    this.#watch();
  }

  close(): void {
    this.#cancelWatch();
  }

  /** An agent says how its networks are. */
  reported({ id, hostname }: AgentRecord, statuses: readonly OverlayStatus[]): void {
    for (const [key, { agent }] of this.#onHosts) if (agent === id) this.#onHosts.delete(key);
    for (const { name, exhausted } of statuses) {
      if (exhausted === undefined) continue;
      const shortage = { network: name, agent: id, hostname, runtime: exhausted.runtime };
      this.#onHosts.set(shortageKey(shortage), shortage);
    }
    this.check();
  }

  /** Writes what has begun, and what is over. */
  check(): void {
    const slices = this.#deps.slices().map((each) => [shortageKey(each), each] as const);
    const lasting = new Map<string, Shortage>([...this.#onHosts, ...slices]);
    for (const [key, each] of lasting) if (!this.#written.has(key)) this.#turn(key, each, false);
    for (const [key, each] of [...this.#written]) if (!lasting.has(key)) this.#turn(key, each, true);
  }

  /** The network is being removed, as part of that change. @returns what is to be called when it is written */
  dropNetwork(network: string): () => void {
    return this.#drop((each) => each.network === network, this.#deps.records);
  }

  /** The agent is being removed, as part of that change. @returns what is to be called when it is written */
  forget(agent: string, records: ControlRecords): () => void {
    return this.#drop((each) => "agent" in each && each.agent === agent, records);
  }

  #drop(isGone: (each: Shortage) => boolean, records: ShortagesDeps["records"]): () => void {
    const gone = [...this.#written, ...this.#onHosts].flatMap(([key, each]) => (isGone(each) ? [key] : []));
    for (const key of gone) records.deleteShortage(key);
    return () => {
      for (const key of gone) for (const map of [this.#written, this.#onHosts, this.#turned]) map.delete(key);
    };
  }

  /** What the disk refuses now waits for the next look; the refusal is counted where all of them are. */
  #turn(key: string, shortage: Shortage, isOver: boolean): void {
    const now = this.#deps.clock.now();
    if (now - (this.#turned.get(key) ?? Number.NEGATIVE_INFINITY) < SHORTAGE_HOLD_MS) return;
    const deed = { who: shortageTeller(shortage), what: shortageText(shortage, isOver) };
    try {
      this.#deps.write(deed, (records) => (isOver ? records.deleteShortage(key) : records.putShortage(shortage)));
    } catch (thrown) {
      if (!(thrown instanceof Fault)) throw thrown;
      return;
    }
    this.#turned.set(key, now);
    if (isOver) this.#written.delete(key);
    else this.#written.set(key, shortage);
  }

  #watch(): void {
    this.#cancelWatch = this.#deps.clock.after(SHORTAGE_CHECK_MS, () => {
      const now = this.#deps.clock.now();
      for (const [key, at] of this.#turned) if (now - at >= SHORTAGE_HOLD_MS) this.#turned.delete(key);
      this.#deps.look();
      this.check();
      this.#watch();
    });
  }
}

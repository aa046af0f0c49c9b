/**
 * Agents that go: drained, so that no container comes to them any more; removed by an operator, or by the master when they
 * have been out of contact for as long as the configuration says. What a removed agent had rests before somebody else
 * gets it, and the same agent gets it back until then.
 */
import type { Allocator } from "../../core/ipam/allocate.ts";
import { later } from "../../io/clock.ts";
import type { Log } from "../../io/log.ts";
import type { Clock } from "../../io/ports.ts";
import type { AgentRecord, RestingItem } from "../../model/cluster.ts";
import { Fault } from "../../model/fault.ts";
import { ABSENCE_CHECK_MS, AGENT_REST_S } from "../../model/limits.ts";
import type { ClusterConfig } from "../../model/network.ts";
import type { Deed } from "./book.ts";
import type { ClusterTrust } from "./cluster-trust.ts";
import type { ControlRecords } from "./control-records.ts";
import type { Presence } from "./presence.ts";
import type { Records } from "./records.ts";
import { ATTENDANCE_GRACE_MS, type Sightings } from "./sightings.ts";

export interface DepartureDeps {
  readonly records: Records;
  readonly trust: ClusterTrust;
  readonly presence: Presence;
  readonly sightings: Pick<Sightings, "mayBeHere">;
  readonly clock: Clock;
  readonly log: Log;
  /** In force: both are others after the configuration has changed. */
  readonly allocator: () => Allocator;
  readonly config: () => ClusterConfig;
  /** @throws Fault storage */
  readonly write: (deed: Deed, make: (records: ControlRecords) => void) => void;
  /** Frees what has rested. */
  readonly wake: () => void;
  /** Deletes what else is kept for the agent, as part of the change. @returns what is to be done when that is written */
  readonly forget: (id: string, records: ControlRecords) => () => void;
  /** It is gone, and this rests now. */
  readonly onGone: (id: string, resting: readonly RestingItem[]) => void;
  /** Its record is another one. */
  readonly onChanged: (record: AgentRecord) => void;
}

export class Departures {
  readonly #deps: DepartureDeps;
  /** Since when each agent is out of contact, by the clock; a master that begins has seen nobody go. */
  readonly #awaySince = new Map<string, number>();
  #cancelWatch: () => void = () => {};

  constructor(deps: DepartureDeps) {
    this.#deps = deps;
    this.#watch();
  }

  close(): void {
    this.#cancelWatch();
  }

  /**
   * Takes what the agents hold and tells their peers. Unknown ones are left out.
   * @param isForced also while they are connected: they lose their networks as soon as they hear of it
   * @throws Fault in-use when one of them is connected, or may be: nobody is removed then; storage, exhausted
   */
  remove(ids: readonly string[], who: string, isForced = false): void {
    const { records } = this.#deps;
    const found = [...new Set(ids)].flatMap((id) => records.withId(id) ?? []);
    for (const record of isForced ? [] : found) this.#refuseConnected(record);
    for (const record of found) this.#remove(record, who);
  }

  /** New containers are refused on the agent's host, or no more so. @throws Fault unknown-agent, storage */
  drain(record: AgentRecord, isDraining: boolean, who: string): void {
    const { phase, ...plain } = record;
    if ((phase === "draining") === isDraining) return;
    const next: AgentRecord = { ...plain, ...(isDraining && { phase: "draining" }) };
    const what = `agent ${record.id} (${record.hostname}) ${isDraining ? "drains" : "takes containers again"}`;
    this.#deps.write({ who, what }, (records) => records.putAgent(next));
    this.#deps.onChanged(next);
    this.#deps.log.info({ agent: record.id, ip: record.ip }, isDraining ? "agent drains" : "agent drains no more");
    this.#deps.presence.announce();
  }

  #refuseConnected({ id, hostname, ip }: AgentRecord): void {
    const { presence, sightings } = this.#deps;
    const isConnected = presence.instanceOf(id) !== undefined;
    if (!isConnected && !sightings.mayBeHere(id)) return;
    const remedy = isConnected
      ? "is connected, and would keep using its subnets; stop it first"
      : `may be connected: this master has only begun to lead; try again in ${ATTENDANCE_GRACE_MS / 1_000} s`;
    throw new Fault(
      "in-use",
      `agent ${id} (${hostname}, ${ip}) ${remedy}, or give --force: its containers then lose their networks at once`,
      { agent: id },
    );
  }

  #remove(record: AgentRecord, who: string): void {
    const { trust, write, wake, allocator, config, clock, log, presence, onGone, forget } = this.#deps;
    let forgotten = () => {};
    const trusted = trust.removal([record.id]);
    const seconds = config().agents?.restSeconds ?? AGENT_REST_S;
    wake();
    const undo = allocator().retire(record, later(clock.date(), seconds));
    const resting = allocator().resting();
    try {
      write({ who, what: `agent ${record.id} (${record.hostname}, ${record.ip}) deleted` }, (records) => {
        records.deleteAgent(record.id);
        records.saveResting(resting);
        forgotten = forget(record.id, records);
        trust.write(trusted);
      });
    } catch (thrown) {
      undo();
      throw thrown;
    }
    forgotten();
    const isFloorDue = trust.apply(trusted);
    this.#awaySince.delete(record.id);
    onGone(record.id, resting);
    log.info({ agent: record.id, ip: record.ip, who, epoch: trust.epoch }, "agent deleted");
    if (isFloorDue) presence.announce();
  }

  #watch(): void {
    this.#cancelWatch = this.#deps.clock.after(ABSENCE_CHECK_MS, () => {
      this.#removeAbsent();
      this.#watch();
    });
  }

  /** Nobody is removed while nobody at all is there: then it is the master that is alone. */
  #removeAbsent(): void {
    const { config, records, presence, clock, log } = this.#deps;
    const seconds = config().agents?.removeAfterSeconds;
    if (seconds === undefined) {
      this.#awaySince.clear();
      return;
    }
    const now = clock.now();
    const all = records.all();
    const away = all.filter(({ id }) => presence.instanceOf(id) === undefined);
    const names = new Set(away.map(({ id }) => id));
    for (const id of this.#awaySince.keys()) if (!names.has(id)) this.#awaySince.delete(id);
    for (const { id } of away) if (!this.#awaySince.has(id)) this.#awaySince.set(id, now);
    if (away.length === all.length) return;
    for (const record of away) {
      if (now - (this.#awaySince.get(record.id) ?? now) < seconds * 1_000) continue;
      log.warn({ agent: record.id, hostname: record.hostname, seconds }, "agent was out of contact for too long");
      try {
        this.#remove(record, "master");
      } catch (thrown) {
        if (!(thrown instanceof Fault)) throw thrown;
        log.error({ agent: record.id }, `it could not be removed: ${thrown.message}`);
        return;
      }
    }
  }
}

/**
 * The agents' records in memory, found by identity and by address, in the order in which the agents were added. No two
 * records share either.
 */
import type { AgentRecord } from "../../model/cluster.ts";
import { assert } from "../../model/fault.ts";
import type { Ip } from "../../model/ip.ts";

/** The record itself when it has no such network. */
export function withoutNetwork(record: AgentRecord, name: string | undefined): AgentRecord {
  const overlays = record.overlays.filter(({ info }) => info.name !== name);
  return overlays.length === record.overlays.length ? record : { ...record, overlays };
}

export class Records {
  #byId = new Map<string, AgentRecord>();
  readonly #byIp = new Map<Ip, AgentRecord>();

  constructor(records: readonly AgentRecord[]) {
    for (const record of records) this.put(record, record.id);
  }

  get size(): number {
    return this.#byId.size;
  }

  all(): readonly AgentRecord[] {
    return [...this.#byId.values()];
  }

  withId(id: string): AgentRecord | undefined {
    return this.#byId.get(id);
  }

  withIp(ip: Ip): AgentRecord | undefined {
    return this.#byIp.get(ip);
  }

  /** Adds the record, or puts it in the place of that with the id `replaces`. */
  put(record: AgentRecord, replaces: string): void {
    const before = this.#byId.get(replaces);
    if (before !== undefined) this.#byIp.delete(before.ip);
    assert(!this.#byIp.has(record.ip), `no other agent has the address ${record.ip}`);
    this.#byIp.set(record.ip, record);
    if (before === undefined || record.id === replaces) this.#byId.set(record.id, record);
    // A map cannot rename a key in its place.
    else
      this.#byId = new Map([...this.#byId].map(([id, each]) => (id === replaces ? [record.id, record] : [id, each])));
  }

  delete(id: string): void {
    const record = this.#byId.get(id);
    if (record !== undefined) this.#byIp.delete(record.ip);
    this.#byId.delete(id);
  }
}

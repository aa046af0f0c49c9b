/**
 * What gossip counts and holds, for Prometheus: the same on agents and masters, under `weft_gossip_`. Everything is read from
 * the member when it is asked for.
 */
import { Counter, Gauge, Registry } from "prom-client";
import type { ClusterMember } from "./cluster-member.ts";
import { memberStatusOf } from "./members-route.ts";

const STATUSES = ["alive", "suspect", "dead", "left"] as const;

export class GossipMetrics {
  readonly #registry = new Registry();
  readonly #members = this.#gauge("members", "Members by status, this one included.", "status");
  readonly #held = this.#gauge("held", "What is held right now; each has a bound (src/model/limits.ts).", "what");
  readonly #events = this.#counter("events_total", "What happened in the protocol.", "event");
  readonly #refused = this.#counter("refused_total", "What was not taken, by reason.", "reason");
  readonly #disbelieved = this.#counter(
    "disbelieved_total",
    "Words that the cluster did not sign, by reason.",
    "reason",
  );
  readonly #sent = this.#counter("datagrams_sent_total", "Datagrams that were sent.", "class");
  readonly #unsent = this.#counter("datagrams_unsent_total", "Datagrams that the socket did not take.", "reason");
  readonly #opened = this.#counter("datagrams_opened_total", "Datagrams that were opened.");
  readonly #dropped = this.#counter("datagrams_dropped_total", "Received datagrams that were dropped.", "reason");
  readonly #malformed = this.#counter("malformed_total", "Messages that could not be read.");

  /** @param member `undefined` while this process is none */
  async text(member: ClusterMember | undefined): Promise<string> {
    if (member === undefined) return "";
    const counts = new Map<string, number>(STATUSES.map((status) => [status, 0]));
    for (const view of member.gossip.members()) {
      const status = memberStatusOf(view);
      counts.set(status, (counts.get(status) ?? 0) + 1);
    }
    for (const [status, count] of counts) this.#members.set({ status }, count);
    for (const [what, value] of Object.entries(member.gossip.gauges())) this.#held.set({ what }, value);
    const { sent, refused, opened, dropped } = member.transport.counters;
    setAll(this.#events, "event", member.gossip.counts);
    setAll(this.#refused, "reason", member.gossip.refusals);
    setAll(this.#disbelieved, "reason", member.directory.disbelief);
    setAll(this.#sent, "class", sent);
    this.#unsent.reset();
    for (const reasons of Object.values(refused))
      for (const [reason, count] of Object.entries(reasons)) this.#unsent.inc({ reason }, count);
    setAll(this.#dropped, "reason", dropped);
    setOne(this.#opened, opened);
    setOne(this.#malformed, member.malformed);
    return this.#registry.metrics();
  }

  #gauge(name: string, help: string, label: string): Gauge {
    return new Gauge({ name: `weft_gossip_${name}`, help, labelNames: [label], registers: [this.#registry] });
  }

  #counter(name: string, help: string, label?: string): Counter {
    const labelNames = label === undefined ? [] : [label];
    return new Counter({ name: `weft_gossip_${name}`, help, labelNames, registers: [this.#registry] });
  }
}

/** The numbers are counted elsewhere, and only rise there. */
function setAll(counter: Counter, label: string, values: Readonly<Record<string, number>>): void {
  counter.reset();
  for (const [name, value] of Object.entries(values)) counter.inc({ [label]: name }, value);
}

function setOne(counter: Counter, value: number): void {
  counter.reset();
  counter.inc(value);
}

/**
 * The agent's metrics: the original's under the names that Telegraf and Prometheus gave them (spec: overlay §3.8,
 * §4.6), and our own under `weft_agent_`. What the original counted and this agent does not do (Docker commands, polls
 * of a second process) stays at its first value.
 */
import { Counter, Gauge, Registry, Summary } from "prom-client";
import type { Capacity } from "../../core/ipam/capacity.ts";
import { CAPACITY_MARKS } from "../../model/limits.ts";

const INTERNAL = [
  "register_agent_messages_sent",
  "update_agent_overlays_messages_received",
  "update_agent_overlays_messages_dropped",
  "agent_registered_messages_sent",
  "agent_registered_messages_dropped",
  "agent_registered_acknowledgements_received",
  "agent_registered_acknowledgements_dropped",
] as const;
type InternalName = (typeof INTERNAL)[number];

/** What is read when metrics are asked for. */
export interface AgentGauges {
  readonly isRegistering: boolean;
  readonly networks: number;
  readonly networksFailed: number;
  readonly networksWithoutIpv4: number;
  readonly peers: number;
  readonly peersLeftOut: number;
  readonly attachments: number;
  readonly capacities: readonly Capacity[];
  /** Addresses that were given before they had rested, since the agent started. */
  readonly givenEarly: number;
  /** Networks whose addresses on this host have passed a mark. */
  readonly roomsPast: (mark: number) => number;
}

export class AgentMetrics {
  readonly #registry = new Registry();
  readonly #internal = new Map<InternalName, Counter>();
  readonly #registering = this.#gauge("overlay_slave_registering", "1 until the master has answered.");
  readonly #configFailed = this.#gauge("overlay_slave_overlay_config_failed", "1 while a network has failed.");
  readonly #withoutSubnets = this.#gauge("overlay_slave_overlays_without_subnets", "Networks without IPv4.");
  readonly #configured = this.#gauge("overlay_networks_configured", "Networks that are in place.");
  readonly #peers = this.#gauge("weft_agent_peers", "Other nodes that are known.");
  readonly #peersLeftOut = this.#gauge("weft_agent_peer_problems", "Claims of other nodes that are not served.");
  readonly #attachments = this.#gauge("weft_agent_attachments", "Interfaces of containers.");
  readonly #addresses = new Gauge({
    name: "weft_agent_addresses",
    help: "Addresses of this host for containers, by half and state: free, used, resting.",
    labelNames: ["network", "family", "half", "runtime", "state"],
    registers: [this.#registry],
  });
  readonly #roomsPast = new Gauge({
    name: "weft_agent_address_marks",
    help: "Networks of which so many percent of this host's addresses, or more, are held.",
    labelNames: ["percent"],
    registers: [this.#registry],
  });
  readonly #givenEarly = this.#counter(
    "weft_agent_addresses_given_early_total",
    "Addresses that were given before they had rested.",
  );
  readonly #configFailures = this.#counter("overlay_slave_overlay_config_failures", "Times a network failed.");
  readonly #networkFailures = this.#counter("overlay_network_configuration_failures_total", "Times a network failed.");
  readonly #updateFailures = this.#counter("overlay_update_failures_total", "Passes that could not be made.");
  readonly #netlinkErrors = this.#counter("overlay_netlink_errors_total", "Operations that the kernel refused.");
  readonly #operations = this.#counter("weft_agent_kernel_operations_total", "Operations asked of the kernel.");
  readonly #passSeconds = new Summary({
    name: "overlay_update_processing_duration_seconds",
    help: "Duration of a pass: observe, desire, diff, apply.",
    registers: [this.#registry],
  });
  readonly #dockerSeconds = new Summary({
    name: "weft_agent_docker_call_seconds",
    help: "Duration of a call of the Docker engine in this agent.",
    labelNames: ["call"],
    registers: [this.#registry],
  });

  constructor() {
    for (const name of INTERNAL)
      this.#internal.set(name, this.#counter(`overlay_slave_internal_${name}`, name.replaceAll("_", " ")));
    this.#counter("overlay_slave_docker_cmd_failures", "Always 0: no Docker command is run.");
    this.#counter("overlay_poll_errors_total", "Always 0: no second process is polled.");
    new Summary({
      name: "overlay_poll_duration_seconds",
      help: "Empty: no second process is polled.",
      registers: [this.#registry],
    });
  }

  count(name: InternalName): void {
    this.#internal.get(name)?.inc();
  }

  networkFailed(): void {
    this.#configFailures.inc();
    this.#networkFailures.inc();
  }

  passed(pass: { durationMs: number; operations: number; failures: number; isImpossible: boolean }): void {
    this.#passSeconds.observe(pass.durationMs / 1_000);
    this.#operations.inc(pass.operations);
    this.#netlinkErrors.inc(pass.failures);
    if (pass.isImpossible) this.#updateFailures.inc();
  }

  /** @param call `NetworkDriver.Join` */
  dockerCalled(call: string, durationMs: number): void {
    this.#dockerSeconds.observe({ call }, durationMs / 1_000);
  }

  /** All metrics in the text format of Prometheus. */
  async text(now: AgentGauges): Promise<string> {
    this.#registering.set(now.isRegistering ? 1 : 0);
    this.#configFailed.set(now.networksFailed > 0 ? 1 : 0);
    this.#withoutSubnets.set(now.networksWithoutIpv4);
    this.#configured.set(now.networks - now.networksFailed);
    this.#peers.set(now.peers);
    this.#peersLeftOut.set(now.peersLeftOut);
    this.#attachments.set(now.attachments);
    this.#givenEarly.reset(); // counted by the leases
    this.#givenEarly.inc(now.givenEarly);
    for (const mark of CAPACITY_MARKS) this.#roomsPast.set({ percent: mark }, now.roomsPast(mark));
    this.#setAddresses(now.capacities);
    return this.#registry.metrics();
  }

  #setAddresses(capacities: readonly Capacity[]): void {
    this.#addresses.reset(); // a network may be gone
    for (const { network, family, half, runtime, ...counts } of capacities)
      for (const state of ["free", "used", "resting"] as const)
        this.#addresses.set({ network, family, half, runtime, state }, counts[state]);
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  #counter(name: string, help: string): Counter {
    return new Counter({ name, help, registers: [this.#registry] });
  }

  #gauge(name: string, help: string): Gauge {
    return new Gauge({ name, help, registers: [this.#registry] });
  }
}

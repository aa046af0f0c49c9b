/**
 * Wires a master and starts it: configuration, store, cluster, listeners. Nothing is served before everything is read,
 * and what was opened is closed again when a later step fails.
 */
import { parseNetworkSource, withoutIpv6 } from "../../core/config/cluster-config.ts";
import { reconfigure } from "../../core/ipam/reconfigure.ts";
import { type HttpServer, listenTcp, listenUnix, parseTcpAddress, type TlsServer } from "../../io/http-server.ts";
import type { Log } from "../../io/log.ts";
import type { Clock, MasterStore, Random, Udp, UdpAddress } from "../../io/ports.ts";
import { Fault, messageOf } from "../../model/fault.ts";
import type { ClusterConfig } from "../../model/network.ts";
import { type NetworkSource, networkOfSource } from "../../model/network-source.ts";
import { addressText } from "../gossip/gossip-node.ts";
import { createMasterApp } from "./app.ts";
import { Cluster, type ClusterState } from "./cluster.ts";
import { ClusterTrust, type MasterSecrets } from "./cluster-trust.ts";
import { MasterGossip } from "./master-gossip.ts";
import { MasterMetrics } from "./metrics.ts";

export interface MasterOptions {
  readonly config: ClusterConfig;
  readonly source: NetworkSource;
  /** What the configuration's reader warned of. */
  readonly warnings: readonly string[];
  /** `ADDRESS:PORT`; port 0 takes any free one. */
  readonly listen: string;
  /** For `listen`; absent: plain HTTP. */
  readonly tls?: TlsServer;
  /** Path of the Unix socket. */
  readonly socket: string;
  /** Where gossip is spoken: this host's own address, as agents reach it. */
  readonly gossip: UdpAddress;
  readonly version: string;
}

export interface MasterDeps {
  readonly store: MasterStore;
  readonly clock: Clock;
  readonly log: Log;
  readonly secrets: MasterSecrets;
  readonly udp: Udp;
  readonly random: Random;
  /** Told of what was thrown while a request was served and is no fault. */
  readonly onBug: (thrown: unknown) => void;
}

export interface RunningMaster {
  readonly cluster: Cluster;
  /** Where TCP is served, with the port that was really taken: `0.0.0.0:5050`. */
  readonly address: string;
  close(): Promise<void>;
}

/**
 * The state to serve: the file laid over what is stored, and stored itself before anybody sees it.
 * @throws Fault corrupt-store, storage
 */
export function loadState(
  { config, source }: Pick<MasterOptions, "config" | "source">,
  store: MasterStore,
): { readonly state: ClusterState; readonly refused: readonly string[] } {
  const { network, agents, resting = [] } = store.load();
  const merged = reconfigure(storedNetwork(network), agents, source);
  const effective = config.enableIpv6 ? merged.network : withoutIpv6(merged.network);
  if (JSON.stringify(effective) !== JSON.stringify(network)) store.saveNetwork(effective);
  return {
    state: { config: { ...config, network: networkOfSource(effective) }, source: effective, records: agents, resting },
    refused: merged.refused,
  };
}

function storedNetwork(network: unknown): NetworkSource | undefined {
  if (network === undefined) return undefined;
  try {
    return parseNetworkSource(network);
  } catch (thrown) {
    throw new Fault(
      "corrupt-store",
      `the stored network configuration is damaged (${messageOf(thrown)}); restore the database from a backup`,
      {},
      { cause: thrown },
    );
  }
}

/** @throws Fault bad-request, bad-config, corrupt-store, storage, port-taken, no-rights */
export async function startMaster(options: MasterOptions, deps: MasterDeps): Promise<RunningMaster> {
  const { log, clock, store, secrets, udp, random, onBug } = deps;
  const tcp = parseTcpAddress(options.listen);
  const { state, refused } = loadState(options, store);
  const metrics = new MasterMetrics();
  const trust = new ClusterTrust({ store, clock, log, secrets });
  const gossip = await MasterGossip.open(options.gossip, {
    trust,
    udp,
    clock,
    random,
    store,
    log,
    onAgent: (agentId) => cluster.presenceChanged(agentId),
  });
  const cluster: Cluster = new Cluster(state, { store, clock, log, metrics, trust, presence: gossip });
  const appDeps = {
    cluster,
    gossip,
    clock,
    metrics,
    version: options.version,
    refusedChanges: refused,
    warnings: options.warnings,
    onBug,
  };
  const servers: HttpServer[] = [];
  const close = async () => {
    cluster.close();
    await gossip.close();
    await Promise.all(servers.map((server) => server.close()));
  };
  try {
    const unixApp = createMasterApp({ ...appDeps, local: true });
    servers.push(await listenUnix((request) => unixApp.fetch(request), options.socket));
    const tcpApp = createMasterApp({ ...appDeps, local: false });
    const server = await listenTcp((request, connection) => tcpApp.fetch(request, connection), tcp, options.tls);
    servers.push(server);
    gossip.start();
    for (const warning of options.warnings) log.warn({ warning }, "configuration");
    for (const reason of refused) log.error({ reason }, "change of the configuration refused");
    const { local } = gossip.member.transport;
    log.info(
      { address: server.address, socket: options.socket, gossip: addressText(local), agents: state.records.length },
      "master serves",
    );
    return { cluster, address: server.address, close };
  } catch (thrown) {
    await close();
    throw thrown;
  }
}

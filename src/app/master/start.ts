/**
 * Wires a master and starts it: configuration, store, cluster, listeners. Nothing is served before everything is read,
 * and what was opened is closed again when a later step fails.
 */
import type { ParsedConfig } from "../../core/config/cluster-config.ts";
import { type HttpServer, listenTcp, listenUnix, parseTcpAddress, type TlsServer } from "../../io/http-server.ts";
import type { Log } from "../../io/log.ts";
import type { Clock, MasterDisk, Random, Udp, UdpAddress } from "../../io/ports.ts";
import type { ClusterConfig } from "../../model/network.ts";
import type { NetworkSource } from "../../model/network-source.ts";
import { addressText } from "../gossip/gossip-node.ts";
import { createMasterApp } from "./app.ts";
import { Book } from "./book.ts";
import { Cluster, type Effective } from "./cluster.ts";
import { ClusterTrust, type MasterSecrets } from "./cluster-trust.ts";
import { ControlRecords } from "./control-records.ts";
import { MasterGossip } from "./master-gossip.ts";
import { MasterMetrics } from "./metrics.ts";
import { digestOf, laidOver } from "./network-admin.ts";

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
  readonly disk: MasterDisk;
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
 * The configuration to serve, stored before anybody sees it. A file that was laid over the store before is not laid over it
 * again: networks may have been changed since, by command.
 * @throws Fault corrupt-store, storage
 */
export function loadEffective(file: Pick<ParsedConfig, "config" | "source">, records: ControlRecords): Effective {
  const [source, settings] = [records.network(), records.settings()];
  if (
    source !== undefined &&
    settings !== undefined &&
    settings.file === digestOf(file) &&
    settings.refused.length === 0
  )
    return { source, settings };
  const effective = laidOver(source, records.agents(), file);
  records.change({ who: "master", what: "configuration file laid over what is stored" }, () => {
    records.saveNetwork(effective.source);
    records.saveSettings(effective.settings);
  });
  return effective;
}

/** @throws Fault bad-request, bad-config, corrupt-store, storage, port-taken, no-rights */
export async function startMaster(options: MasterOptions, deps: MasterDeps): Promise<RunningMaster> {
  const { log, clock, disk, secrets, udp, random, onBug } = deps;
  const tcp = parseTcpAddress(options.listen);
  const term = disk.control.leadNow();
  const book = new Book(term.loadNow(), term, clock);
  const records = new ControlRecords(book, secrets.storeKey);
  const effective = loadEffective(options, records);
  const agents = records.agents();
  const { refused } = effective.settings;
  const metrics = new MasterMetrics();
  const trust = new ClusterTrust({ records, clock, log, secrets });
  const gossip = await MasterGossip.open(options.gossip, {
    trust,
    udp,
    clock,
    random,
    store: disk.gossip,
    log,
    onAgent: (agentId) => cluster.presenceChanged(agentId),
  });
  const cluster: Cluster = new Cluster(effective, agents, {
    book,
    records,
    clock,
    log,
    metrics,
    trust,
    presence: gossip,
  });
  const appDeps = {
    cluster,
    gossip,
    clock,
    metrics,
    version: options.version,
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
      { address: server.address, socket: options.socket, gossip: addressText(local), agents: agents.length },
      "master serves",
    );
    return { cluster, address: server.address, close };
  } catch (thrown) {
    await close();
    throw thrown;
  }
}

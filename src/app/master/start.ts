/**
 * Starts a master: its role among the masters, its listeners. What it serves while it leads is session.ts. What was opened
 * is closed again when a later step fails.
 */
import { type HttpServer, listenTcp, listenUnix, parseTcpAddress, type TlsServer } from "../../io/http-server.ts";
import type { Log } from "../../io/log.ts";
import type { Clock, ControlStore, MasterAddress, MasterDisk, Random, Udp, UdpAddress } from "../../io/ports.ts";
import type { ClusterConfig } from "../../model/network.ts";
import type { NetworkSource } from "../../model/network-source.ts";
import type { MasterSecrets } from "./cluster-trust.ts";
import { standbyMetrics } from "./metrics.ts";
import { MasterRole } from "./role.ts";
import { openSession } from "./session.ts";

export interface MasterOptions {
  readonly config: ClusterConfig;
  readonly source: NetworkSource;
  /** What the configuration's reader warned of. */
  readonly warnings: readonly string[];
  /** `ADDRESS:PORT`; port 0 takes any free one. */
  readonly listen: string;
  /** How the other masters find this one. */
  readonly self: MasterAddress;
  /** The authority of the other masters' certificates, in PEM. */
  readonly peerCa?: string;
  /** For `listen`; absent: plain HTTP. */
  readonly tls?: TlsServer;
  /** Path of the Unix socket. */
  readonly socket: string;
  /** Where gossip is spoken: this host's own address, as agents reach it. */
  readonly gossip: UdpAddress;
  readonly version: string;
}

export interface MasterDeps {
  /** What this host keeps for itself, and the control plane unless `store` has it. */
  readonly disk: MasterDisk;
  /** Where several masters keep the control plane. */
  readonly store?: ControlStore;
  readonly clock: Clock;
  readonly log: Log;
  /** @param isNew whether the cluster begins now */
  readonly secrets: (isNew: boolean) => MasterSecrets;
  readonly udp: Udp;
  readonly random: Random;
  /** Told of what was thrown while a request was served and is no fault. */
  readonly onBug: (thrown: unknown) => void;
}

export interface RunningMaster {
  readonly role: MasterRole;
  /** Where TCP is served, with the port that was really taken: `0.0.0.0:5050`. */
  readonly address: string;
  close(): Promise<void>;
}

/**
 * Serves, as leader or standby, until `close`. A master with a store of its own leads when this resolves.
 * @throws Fault bad-request, bad-config, corrupt-store, storage, port-taken, no-rights
 */
export async function startMaster(options: MasterOptions, deps: MasterDeps): Promise<RunningMaster> {
  const { log, disk, store, onBug } = deps;
  const tcp = parseTcpAddress(options.listen);
  const servers: HttpServer[] = [];
  const ending = new AbortController();
  const role: MasterRole = new MasterRole({
    store: store ?? disk.control,
    self: options.self,
    serve: (term) => openSession(term, options, deps),
    // Whoever collects metrics asks each master for its own.
    own: (request) =>
      role.role === "standby" && new URL(request.url).pathname === "/metrics" ? standbyMetrics() : undefined,
    log,
    ...(options.peerCa !== undefined && { tls: { ca: options.peerCa } }),
  });
  for (const warning of options.warnings) log.warn({ warning }, "configuration");
  let running: Promise<void> | undefined;
  const close = async () => {
    ending.abort();
    await running?.catch(() => {});
    await Promise.all(servers.map((server) => server.close()));
  };
  try {
    // First, so that a taken address is found before anything is written; until the state is read the answer is "not yet".
    servers.push(await listenUnix(role.listener(true), options.socket));
    const server = await listenTcp(role.listener(false), tcp, options.tls);
    servers.push(server);
    running = role.run(ending.signal);
    // With other masters around, one of them may be the one that serves.
    if (store === undefined) await Promise.race([role.ready, running]);
    // What ends it later is no refusal of a start any more.
    running.catch(onBug);
    log.info({ address: server.address, socket: options.socket, role: role.role }, "master serves");
    return { address: server.address, role, close };
  } catch (thrown) {
    await close();
    throw thrown;
  }
}

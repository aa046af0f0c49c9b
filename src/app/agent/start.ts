/**
 * Wires an agent and starts it: store, kernel, loop, listeners, and last the session with its masters. What was opened
 * is closed again when a later step fails.
 */
import { type HttpServer, listenTcp, listenUnix, parseTcpAddress, type TcpAddress } from "../../io/http-server.ts";
import type { Log } from "../../io/log.ts";
import type {
  AgentStore,
  Clock,
  DockerEngine,
  HostSockets,
  Kernel,
  MasterClient,
  PluginRunner,
  Random,
  Udp,
} from "../../io/ports.ts";
import { Fault } from "../../model/fault.ts";
import type { Signer } from "../../model/trust/member.ts";
import { AGENT_FEATURES } from "../../model/version.ts";
import { Agent } from "./agent.ts";
import type { AgentSettings } from "./agent-dependencies.ts";
import { AgentGossip } from "./agent-gossip.ts";
import { type AgentApiDeps, createAgentApp } from "./app.ts";
import { cniEndpoint } from "./cni-endpoint.ts";
import { DatapathMetrics } from "./datapath-metrics.ts";
import { EngineSide } from "./docker/engine-side.ts";
import { netavarkEndpoint } from "./netavark-endpoint.ts";
import { provesRemoval } from "./removal-proof.ts";
import { Session } from "./session.ts";

export interface AgentOptions extends AgentSettings {
  /** UDP port of gossip; 0 takes any free one. */
  readonly gossipPort: number;
  /** `ADDRESS:PORT`; port 0 takes any free one. */
  readonly listen: string;
  readonly version: string;
}

export interface AgentDeps {
  readonly kernel: Kernel;
  readonly store: AgentStore;
  readonly plugins: PluginRunner;
  readonly sockets: HostSockets;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly client: MasterClient;
  readonly udp: Udp;
  /** The host's Docker engine, wherever there is one. */
  readonly engine: DockerEngine;
  /** The agent's identity key, with which it speaks in gossip. */
  readonly signer: Signer;
  /** The agent cannot go on. */
  readonly onFatal: (fault: Fault) => void;
  /** Told of what was thrown while a request was served and is no fault. */
  readonly onBug: (thrown: unknown) => void;
}

export interface RunningAgent {
  /** Where TCP is served, with the port that was really taken: `0.0.0.0:5051`. */
  readonly address: string;
  close(): Promise<void>;
}

/** @throws Fault kernel-lacks, no-rights, bad-request, port-taken, storage */
export async function startAgent(options: AgentOptions, deps: AgentDeps): Promise<RunningAgent> {
  const { clock, log, onBug } = deps;
  const tcp = parseTcpAddress(options.listen);
  const { agent, agentId, docker, gossip, session } = wire(options, deps);
  const servers: HttpServer[] = [];
  const close = async () => {
    session.stop();
    await docker.stop();
    await gossip.close();
    await Promise.all(servers.map((server) => server.close()));
    await agent.stop();
  };
  try {
    const { ip, version } = options;
    const datapathMetrics = new DatapathMetrics({ datapath: agent.datapath, leases: () => agent.leases() });
    const api = { docker, agent, session, gossip, datapathMetrics, agentId, version, clock, onBug, log };
    const open = await listen(options, tcp, api, servers);
    if (options.dockerPluginDir !== undefined) await docker.listen(options.dockerPluginDir);
    await agent.start();
    await gossip.start();
    open();
    session.start();
    docker.start();
    const address = servers.at(-1)?.address ?? options.listen;
    log.info({ agent: agentId, ip, address, socket: options.socketPath }, "agent serves");
    return { address, close };
  } catch (thrown) {
    await close();
    throw thrown;
  }
}

interface Parts {
  readonly agent: Agent;
  readonly agentId: string;
  readonly docker: EngineSide;
  readonly gossip: AgentGossip;
  readonly session: Session;
}

/** What each part tells the others. Nothing runs yet. @throws Fault storage */
function wire(options: AgentOptions, deps: AgentDeps): Parts {
  const { random, store } = deps;
  const identity = { agentId: agentIdIn(store, random), instanceId: random.uuid() };
  const agent: Agent = new Agent(options, {
    ...deps,
    onStatus: (statuses, assignment) => session.report(statuses, assignment, agent.datapath.report),
    askForRoom: () => session.askForRoom(),
    onMembers: (told) => gossip.tellMembers(told),
    claim: (wanted) => session.claim(wanted),
    addNetwork: (wanted, deadline) => docker.addNetwork(wanted, deadline),
    onOutdated: () => session.called(),
    onServing: (assignment) => docker.serves(assignment),
  });
  const docker = new EngineSide({ ...deps, agent, addNetwork: (wanted) => session.addNetwork(wanted) });
  const { ip, hostname, networkConfig, version, gossipPort } = options;
  const gossip: AgentGossip = new AgentGossip(
    { ip, port: gossipPort },
    {
      ...deps,
      ...identity,
      onPeers: (update) => agent.peersChanged(update),
      onMembers: (agentId, told) => agent.membersTold(agentId, told),
      onReassigned: () => session.reassigned(),
      onRemoved: () => leave(agent, gossip, session, deps),
    },
  );
  const session: Session = new Session(
    { ...identity, ip, hostname, networkConfig, version, features: AGENT_FEATURES },
    {
      ...deps,
      metrics: agent.metrics,
      crowd: () => (agent.arePeersComplete ? agent.peers().length + 1 : Number.POSITIVE_INFINITY),
      onRefused: (fault) => {
        if (provesRemoval(fault, store.membership())) leave(agent, gossip, session, deps);
      },
      onAdmitted: ({ assignment, membership, announcement }) => {
        store.saveMembership(membership);
        agent.assigned(assignment);
        gossip.admitted(membership, announcement);
      },
    },
  );
  return { agent, agentId: identity.agentId, docker, gossip, session };
}

/**
 * Takes the socket first: a second agent with the same one must touch nothing.
 * @param servers what was opened is added to it, TCP last
 * @returns to be called when the agent has started: requests wait for it
 */
async function listen(
  { socketPath }: AgentOptions,
  tcp: TcpAddress,
  api: Omit<AgentApiDeps, "local"> & Pick<AgentDeps, "log">,
  servers: HttpServer[],
): Promise<() => void> {
  const { agent, onBug, log } = api;
  const unixApp = createAgentApp({ ...api, local: true });
  const tcpApp = createAgentApp({ ...api, local: false });
  const started = Promise.withResolvers<void>();
  let isStarted = false;
  const afterStart = (app: typeof unixApp) => async (request: Request) => {
    await started.promise;
    return app.fetch(request);
  };
  const shared = { isStarted: () => isStarted, onBug };
  const cni = cniEndpoint({ ...shared, cni: (body) => agent.cni(body) });
  const netavark = netavarkEndpoint({ ...shared, agent, socketPath, log });
  servers.push(await listenUnix(afterStart(unixApp), socketPath, [cni, netavark]));
  servers.push(await listenTcp(afterStart(tcpApp), tcp));
  return () => {
    isStarted = true;
    started.resolve();
  };
}

/** The cluster removed this agent: it says nothing more in gossip, and goes on asking to be let in. */
function leave(agent: Agent, gossip: AgentGossip, session: Session, { onFatal }: AgentDeps): void {
  try {
    if (!agent.removed()) return;
    gossip.expelled();
    session.reassigned();
  } catch (thrown) {
    if (!(thrown instanceof Fault)) throw thrown;
    onFatal(thrown);
  }
}

/** Chosen once and kept: the address of a host may change, who it is does not. */
function agentIdIn(store: AgentStore, random: Random): string {
  const known = store.identity();
  if (known !== undefined) return known;
  const fresh = random.uuid();
  store.saveIdentity(fresh);
  return fresh;
}

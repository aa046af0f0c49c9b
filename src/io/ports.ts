/**
 * Every interface to the outside but the stores (store-ports.ts), on one screen. Each has a real implementation and a simulated twin that refuses what
 * the real one refuses; one contract suite (test/contract) runs against both.
 */
import type {
  AttachedNetwork,
  EngineContainer,
  EngineInfo,
  EngineNetwork,
  NetworkSpec,
} from "../core/docker/engine.ts";
import type { DatapathFeature, FlowSample, PairKey, Traffic } from "../core/host/datapath.ts";
import type { HostState, KernelOp, Link } from "../core/host/host-state.ts";
import type {
  AgentNetworkConfig,
  Assignment,
  DatapathState,
  OverlayStatus,
  Peer,
  ReportAnswer,
} from "../model/cluster.ts";
import type { Fault } from "../model/fault.ts";
import type { Ip } from "../model/ip.ts";
import type { NewNetwork } from "../model/network.ts";
import type { Claim } from "../model/reservation.ts";
import type { Membership } from "../model/trust/membership.ts";
import type { AgentProgram } from "../model/version.ts";

// ---- kernel --------------------------------------------------------------------------------------------------------

/** An errno with its name and what the kernel said of it (`NLMSGERR_ATTR_MSG`), as a value: the world failed, not us. */
export interface KernelError {
  readonly code: string; // "EEXIST"
  readonly message: string; // "add vtep1024: file exists (EEXIST)"
}

/** One network namespace. Calls are carried out one after another in the order they were made. */
export interface Kernel {
  /**
   * Reads what is there. Links and addresses: all (link-local IPv6 left out). Routes and rules: those of
   * ROUTE_PROTOCOL. Neighbours: permanent ones. FDB: entries of VXLAN devices with a destination. Shapers: all. Sysctls: the paths
   * asked for, without those that do not exist. Tables: those named OWNER. Passages: the chains that there are.
   * @throws Fault no-rights, kernel-refused
   */
  observe(sysctlPaths: readonly string[]): Promise<HostState>;
  /** The links alone, as `observe` reads them. @throws as `observe` */
  links(): Promise<readonly Link[]>;
  /**
   * Carries out the operations in order. One that fails does not stop the others. A link that was deleted is gone, and
   * all that was on it, when the promise resolves.
   * @returns what failed, each with its place in `ops`; empty when all is well
   */
  apply(ops: readonly KernelOp[]): Promise<readonly OpFailure[]>;
  /** Calls back after anything of the kinds in HostState changed, by whomever; may call more often than needed. */
  watch(onChange: (change: KernelChange) => void): Watch;
  /** What this kernel can do. Probed once, in a throw-away namespace where need be, and remembered. */
  features(): Promise<KernelFeatures>;
  /** What the datapath's programs have counted; `undefined` where there is none. @throws as `observe` */
  traffic(): Promise<Traffic | undefined>;
  /** Their counts begin anew when they talk again. One that is not there is no error. */
  forgetPairs(pairs: readonly PairKey[]): Promise<void>;
  /** What was sampled since the last call, the oldest first; what nobody fetched in time is lost. */
  samples(): Promise<readonly FlowSample[]>;
  /**
   * Opens the network namespace at `path` (a bind mount or /proc/PID/ns/net).
   * @throws Fault bad-netns when the path is absent or no network namespace
   */
  enter(path: string): Promise<ContainerKernel>;
  close(): void;
}

export interface OpFailure {
  readonly index: number;
  readonly op: KernelOp;
  readonly error: KernelError;
}

export interface KernelChange {
  /** `overrun`: events were lost, anything may have changed. */
  readonly kind: "link" | "address" | "route" | "rule" | "neighbor" | "nftables" | "netconf" | "overrun";
}

export interface Watch {
  close(): void;
}

export interface KernelFeatures {
  /** `vxlan`, `bridge`, `veth` devices can be made, nftables spoken. A missing one is named in `missing`. */
  readonly missing: readonly string[];
  /** nftables can forward at ingress (NFT_FWD_NETDEV): no policy rule is needed for traffic to nodes. */
  readonly ingressForward: boolean;
  /** It can hold a container's traffic to a rate: qdisc `tbf`, nftables `limit`. */
  readonly bandwidth: boolean;
  readonly datapath: DatapathFeature;
}

/** The namespace of a container, held open: it stays the same one even if its path is reused. */
export interface ContainerKernel extends Kernel {
  /** Which namespace it is. None before or after has the same, whatever its path, not after a reboot either. */
  readonly netnsId: string;
}

// ---- other processes of the host -----------------------------------------------------------------------------------

/** Who holds the ports of this host, in the namespace that the agent lives in. */
export interface HostSockets {
  /** The sockets that listen (tcp) or are bound (udp) at the port, of both families; `::` may take IPv4 as well. */
  holders(protocol: "tcp" | "udp", port: number): readonly SocketHolder[];
}

export interface SocketHolder {
  readonly address: Ip;
  /** Absent when no process could be found that has it open. */
  readonly pid?: number;
  readonly command: string;
}

/** Runs another CNI plugin. */
export interface PluginRunner {
  /** @throws Fault delegate-failed when there is no such plugin, or it cannot be run to its end */
  run(call: PluginCall): Promise<PluginAnswer>;
}

export interface PluginCall {
  /** The executable's name, and the folders it is looked for in. */
  readonly type: string;
  readonly cniPath: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly stdin: string;
}

export interface PluginAnswer {
  /** Whether it ended with the status 0: then `stdout` is a result (or empty), else an error. */
  readonly ok: boolean;
  readonly stdout: string;
}

// ---- a container engine of the host --------------------------------------------------------------------------------

/**
 * Docker Engine by its own API. Nothing that serves a call of the engine's may wait for one of these: the engine may hold
 * back its answer until it has been answered itself.
 *
 * Every call throws Fault: `not-ready` when the engine is not there or does not answer in time, `unsupported-version`,
 * `no-rights`, and `engine-failed` with its own words when it refuses or what answers is no engine.
 */
export interface DockerEngine {
  info(): Promise<EngineInfo>;
  networks(): Promise<readonly EngineNetwork[]>;
  /** One network and who is in it; `undefined` when there is none. */
  network(id: string): Promise<AttachedNetwork | undefined>;
  /** The engine calls the network's driver before it answers. @returns its id. @throws Fault in-use: the name is taken */
  createNetwork(spec: NetworkSpec): Promise<string>;
  /** One that is not there is no error. @throws Fault in-use: containers are in it */
  removeNetwork(id: string): Promise<void>;
  /** Those that run. */
  containers(): Promise<readonly EngineContainer[]>;
  /**
   * Resolves when the engine has begun to tell of changes. There may be more calls than changes.
   * @param onEnd called once when the engine tells no more, not after `close`; the caller watches again
   */
  watch(onChange: (change: EngineChange) => void, onEnd: (reason: Fault) => void): Promise<Watch>;
}

/** Of what something changed. */
export type EngineChange = "network" | "container";

// ---- datagrams between agents ------------------------------------------------------------------------------------

/** Where a datagram comes from or goes to. `port` is 1 … 65,535. */
export interface UdpAddress {
  readonly ip: Ip;
  readonly port: number;
}

/** What of the sender's may wait when the network takes less than is sent: bulk gives way to control. */
export type SendClass = "control" | "bulk";

export interface Udp {
  /**
   * Opens a socket at one address of this host; it takes and sends datagrams of that address's family only.
   * @param at port 0: any free one
   * @param onDatagram called once for each datagram that arrives, never during a call of `send`; the bytes are the
   * receiver's to keep. Datagrams may be lost, doubled and reordered, and anyone may have sent them under any address.
   * @throws Fault port-taken, bad-request (no address of this host), no-rights
   */
  open(at: UdpAddress, onDatagram: (datagram: Buffer, from: UdpAddress) => void): Promise<UdpSocket>;
}

export interface UdpSocket {
  readonly local: UdpAddress;
  /** Bytes that the kernel said it lets wait for this process (as Linux counts them: twice the payload's share). */
  readonly receiveBufferBytes: number;
  /** Datagrams that were taken by `send`, and that the kernel has not taken yet. */
  readonly queued: number;
  readonly counters: Readonly<UdpCounters>;
  /**
   * Sends one datagram of at most DATAGRAM_MAX_BYTES, whose bytes the caller leaves alone from then on. What the kernel
   * refuses later is counted in `counters.failed`; nobody hears of what is lost on the way.
   * @returns why it was not taken; `undefined` when it was
   */
  send(to: UdpAddress, datagram: Uint8Array, sendClass: SendClass): UdpRefusal | undefined;
  /** Nothing is received once this is called. Closing twice is no error. */
  close(): Promise<void>;
}

/** `queue-full`: for this class; `unreachable`: the other family, or no port. */
export type UdpRefusal = "closed" | "queue-full" | "too-long" | "unreachable";

/** Each a count since the socket was opened. */
export interface UdpCounters {
  sent: number;
  sentBytes: number;
  received: number;
  receivedBytes: number;
  /** By UdpRefusal, and bulk and control apart where the queue was full. */
  readonly refused: Record<Exclude<UdpRefusal, "queue-full"> | "queue-full-bulk" | "queue-full-control", number>;
  /** What the kernel refused after `send` took it, by errno: `EACCES`, `ENETUNREACH`. */
  readonly failed: Record<string, number>;
  /** Errors of receiving, by errno. */
  readonly receiveFailed: Record<string, number>;
  /** Came from an address that has no text of its own (a link-local one, with a zone), and were dropped. */
  unaddressable: number;
}

export type * from "./store-ports.ts";

// ---- time and chance -----------------------------------------------------------------------------------------------

export interface Clock {
  /** Milliseconds of a clock that never goes back. */
  now(): number;
  /** The wall clock, RFC 3339 in UTC to the second: for people. It may jump; nothing is decided by it but the end of tokens. */
  date(): string;
  /** Calls once after `ms`; the result cancels it. */
  after(ms: number, call: () => void): () => void;
}

export interface Random {
  /** Uniform in [0, 1). */
  fraction(): number;
  uuid(): string;
}

// ---- the master as an agent sees it --------------------------------------------------------------------------------

export interface RegisterRequest extends AgentProgram {
  readonly agentId: string;
  /** New for each start of the agent's process: tells a restart from a second agent with the same identity. */
  readonly instanceId: string;
  readonly ip: Ip;
  readonly hostname: string;
  readonly networkConfig: AgentNetworkConfig;
}

/** A master's answer: what this agent has, and what makes it a member of the cluster. */
export interface Admission {
  readonly assignment: Assignment;
  readonly membership: Membership;
  /** The master's last announcement: this answer is what it asked to be fetched. Older masters do not say. */
  readonly announcement?: string | undefined;
}

export interface MasterClient {
  /**
   * @throws Fault as the master refused; `not-ready` when it cannot be reached; `unauthorized` when what answers is not
   * the master of this agent's cluster
   */
  register(request: RegisterRequest): Promise<Admission>;
  /** @throws as `register` */
  reportStatus(report: StatusReport): Promise<ReportAnswer>;
  /**
   * Asks for the cluster's word that this agent hosts, of each family among them, one of the addresses that are reserved
   * for the name. The word itself comes with the next registration. Absent: nobody can be asked.
   * @returns what it hosts for the name now; @throws as `register`
   */
  claim?(request: ClaimRequest): Promise<readonly Claim[]>;
  /** Asks the cluster to have a network. One that is there just so is no error. Absent: nobody can be asked. @throws as `register` */
  addNetwork?(request: AddNetworkRequest): Promise<void>;
}

export interface AddNetworkRequest {
  readonly agentId: string;
  readonly instanceId: string;
  readonly network: NewNetwork;
}

export interface ClaimRequest {
  readonly agentId: string;
  readonly instanceId: string;
  readonly network: string;
  readonly name: string;
  /** Those that it can use, the ones that it likes best first. */
  readonly addresses: readonly Ip[];
}

export interface StatusReport {
  readonly agentId: string;
  readonly instanceId: string;
  readonly overlays: readonly OverlayStatus[];
  /** Older agents do not tell. */
  readonly datapath?: DatapathState;
}

/** What an agent learns of its peers. Until the snapshot comes there may be more than were told. */
export type PeerUpdate =
  | { readonly type: "snapshot"; readonly peers: readonly Peer[] }
  /** What is known of each now, by its id; `undefined`: it is gone. */
  | { readonly type: "changed"; readonly peers: ReadonlyMap<string, Peer | undefined> };

/**
 * What an agent is given: where it lives, the doors to the world, and whom it tells what.
 */
import type { DatapathLevel } from "../../core/overlay/datapath.ts";
import type { Log } from "../../io/log.ts";
import type { AgentStore, Clock, HostSockets, Kernel, PluginRunner } from "../../io/ports.ts";
import type { AgentNetworkConfig, Assignment, OverlayStatus, ReportAnswer } from "../../model/cluster.ts";
import type { Ip } from "../../model/ip.ts";
import type { AttachHost } from "./attach-service.ts";
import type { ClaimBookDeps } from "./claim-book.ts";

export interface AgentSettings {
  readonly ip: Ip;
  readonly hostname: string;
  readonly networkConfig: AgentNetworkConfig;
  /** The agent's own socket, as CNI configurations name it. */
  readonly socketPath: string;
  /** How high the datapath may go; absent: 2. */
  readonly datapathLevel?: DatapathLevel;
  /** Folder for CNI configurations; absent: none are written. */
  readonly cniConfDir?: string;
  /** Where a Docker engine looks for drivers; absent: there is no Docker. */
  readonly dockerPluginDir?: string;
}

export interface AgentDependencies {
  readonly kernel: Kernel;
  readonly store: AgentStore;
  readonly plugins: PluginRunner;
  readonly sockets: HostSockets;
  readonly clock: Clock;
  readonly log: Log;
  /** Told what other agents are to know of this one's labelled containers; absent: they are not told. */
  readonly onMembers?: (told: Uint8Array | undefined) => void;
  /** Told of the assignment that the host carries containers of; `undefined`: the cluster removed the agent. */
  readonly onServing?: (assignment: Assignment | undefined) => void;
  /** Called whenever what the master should know of the networks may have changed. */
  readonly onStatus: (statuses: readonly OverlayStatus[], assignment?: Assignment) => void;
  /** Tells the master now, because a call of a runtime finds every address held. */
  readonly askForRoom?: () => Promise<ReportAnswer | undefined>;
  /** Asks the master for an address that is reserved and not here. */
  readonly claim?: ClaimBookDeps["ask"];
  /** See AttachHost. */
  readonly addNetwork?: AttachHost["addNetwork"];
  /** What the assignment says that this agent hosts is another's now: a newer one is there to be had. */
  readonly onOutdated?: () => void;
}

/**
 * `weft agent`: options and their defaults.
 */
import { hostname } from "node:os";
import { type Command, InvalidArgumentError, Option } from "commander";
import type { DatapathLevel } from "../../core/overlay/datapath.ts";
import type { HookName } from "../../io/kernel/bpf/hooks.ts";
import { LOG_FORMAT_OPTION, LOG_LEVEL_OPTION, type LogFlags } from "../daemon.ts";
import { parsePort } from "../port-option.ts";
import { addTlsClientOptions, type TlsClientFlags } from "../tls-options.ts";

export interface AgentFlags extends LogFlags, TlsClientFlags {
  readonly master: string;
  readonly ip?: string;
  readonly hostname: string;
  readonly listen: string;
  readonly socket: string;
  readonly gossipPort: number;
  readonly dataDir: string;
  readonly cniConfDir: string;
  readonly dockerPluginDir: string;
  readonly dockerSocket: string;
  readonly containers: boolean;
  readonly mesosBridge: boolean;
  readonly dockerBridge: boolean;
  readonly subnets: boolean;
  readonly datapathLevel: DatapathLevel;
  readonly datapathHook?: HookName;
  readonly joinTokenFile?: string;
  readonly newCluster?: true;
}

const HELP = `
Masters are tried in turn; a URL is http://HOST:PORT, https://HOST:PORT or
unix:/PATH. The agent keeps trying for ever, and serves what its disk holds
meanwhile.

It joins a cluster once, by a token that the master made: copy the file
join-token from the master's data directory, mode 0600, and name it. From then
on the key in DATA-DIR/identity.key shows who it is, and it talks to masters of
that cluster only. A token is no argument: every user of a host sees arguments.

In the host's network namespace it makes vtep1024, m-NAME and d-NAME for each
network, and one veth per container; its routes have protocol 87 and its
nftables tables are named weft. Nothing else is touched, and what is damaged
from outside is repaired. When it ends everything stays in place, so that no
packet is lost.

Agents and masters gossip over UDP, sealed, from host to host: that is how an
agent learns of its peers. Ports 64000 (VXLAN) and 62501 (gossip) must be open
between all hosts; a master speaks on 62502.

Packets between containers take a fast way by eBPF programs where the kernel
lets them: 'weft status --agent' says how high it goes and why not higher. Rules
of others in the hook 'forward' do not see these packets, and at level 2 no rule
sees the tunnel's; --datapath-level 0 takes the programs away.

It needs CAP_NET_ADMIN and CAP_SYS_ADMIN, those two ports free, and a kernel
with vxlan, bridge, veth and nf_tables. Containers are attached by CNI: see
'weft cni install --help'.

SIGTERM and SIGINT end the agent. Exit status: 0 ended, 1 identity taken, 64
usage, 65 damaged database, 69 address taken or kernel feature missing, 74
disk, 77 no rights.`;

export function addAgentCommand(program: Command): void {
  addTlsClientOptions(program.command("agent"))
    .description("make this host's kernel match what the master decided; runs on every host")
    .requiredOption("--master <url,...>", "the masters, such as http://10.0.0.10:5050")
    .option("--ip <address>", "this host's address between the hosts (default: the one used towards the master)")
    .option("--hostname <name>", "name that the master shows", hostname())
    .option("--listen <address:port>", "where the agent's state is read; port 0 takes a free one", "0.0.0.0:5051")
    .option("--socket <path>", "Unix socket for CNI and for commands of this host", "/run/weft/agent.sock")
    .option("--gossip-port <port>", "UDP port of gossip at this host's address; 0 takes a free one", parsePort, 62_501)
    .option("--data-dir <directory>", "where identity and leases are kept", "/var/lib/weft/agent")
    .option(
      "--cni-conf-dir <directory>",
      "where a CNI configuration per network is written; '' for none",
      "/etc/cni/net.d",
    )
    .option(
      "--docker-plugin-dir <directory>",
      "where a Docker engine of this host looks for drivers; '' for no Docker",
      "/run/docker/plugins",
    )
    .option("--docker-socket <path>", "where that engine serves its API", "/run/docker.sock")
    .addOption(
      new Option("--join-token-file <file>", "holds the token that lets this host join").env("WEFT_JOIN_TOKEN_FILE"),
    )
    .option("--new-cluster", "forget the cluster that this agent belongs to, and join the one of the token")
    .option("--no-containers", "take part with a VTEP and subnets, without bridges (as masters do)")
    .option("--no-mesos-bridge", "no half for containers by CNI")
    .option("--no-docker-bridge", "no half for containers by Docker")
    .option("--no-subnets", "take part with a VTEP alone")
    .addOption(
      new Option(
        "--datapath-level <level>",
        "0: the plain kernel carries all packets; 1: programs around its VXLAN device; 2: programs in its place",
      )
        .argParser(parseLevel)
        .default(2)
        .env("WEFT_DATAPATH_LEVEL"),
    )
    .addOption(
      new Option("--datapath-hook <hook>", "where programs are put; tcx needs Linux 6.6 (default: the newest there is)")
        .choices(["tcx", "clsact"])
        .env("WEFT_DATAPATH_HOOK"),
    )
    .addOption(LOG_LEVEL_OPTION)
    .addOption(LOG_FORMAT_OPTION)
    .addHelpText("after", HELP)
    .action(async (flags: AgentFlags, command: Command) => {
      const { runAgent } = await import("./run.ts");
      await runAgent(flags, command.parent?.version() ?? "");
    });
}

function parseLevel(text: string): DatapathLevel {
  if (text === "0" || text === "1" || text === "2") return Number(text) as DatapathLevel;
  throw new InvalidArgumentError("give 0, 1 or 2.");
}

/**
 * `weft master`: options and their defaults.
 */
import type { Command } from "commander";
import { LOG_FORMAT_OPTION, LOG_LEVEL_OPTION, type LogFlags } from "../daemon.ts";
import { addTlsServerOptions, type TlsServerFlags } from "../tls-options.ts";
import { addStoreOptions, type StoreFlags } from "./store-option.ts";

export interface MasterFlags extends LogFlags, TlsServerFlags, StoreFlags {
  readonly config: string;
  readonly listen: string;
  readonly socket: string;
  readonly gossip?: string;
  readonly dataDir: string;
  readonly advertise?: string;
  readonly peerCa?: string;
  readonly newCluster?: true;
}

const HELP = `
The configuration is the config.yaml of DC/OS: its section dcos_overlay_network
with vtep_subnet, vtep_subnet6, vtep_mac_oui, vtep_mtu and overlays[] (name,
subnet, prefix, subnet6, prefix6, enabled), and dcos_overlay_mtu,
dcos_overlay_network_default_name and enable_ipv6 beside it. Other keys are
accepted. Without the section there are two networks, dcos (9.0.0.0/8) and dcos6
(fd01:b::/64). 'weft config check FILE' tells what is wrong with a file.

A changed configuration is read at the next start. Additions are taken; what
would take a network or a pool of VTEP addresses away from agents is refused,
logged and shown by 'weft status', and the rest is served.

Agents use the TCP address, and join with a token: at its first start the master
writes one to DATA-DIR/join-token, for any number of agents; copy that file to
each host. 'weft token --help' tells how to make and revoke others.

Several masters share an etcd (--store etcd://10.0.0.5:2379,10.0.0.6:2379, or
etcds:// for TLS). One leads; the others hand calls on, and take over when it is
gone. All have the same DATA-DIR/cluster.key: copy it from the first one, which
was started with --new-cluster. The file is read when the cluster begins; later
changes are made by 'weft apply' and 'weft network'.

With --tls-cert and --tls-key it serves https, and agents name it https://…
with --tls-ca. With --tls-client-ca a client's certificate stands for a token.

SIGTERM and SIGINT end the master; what it answered before is on the disk,
whichever way it ends.
Exit status: 0 ended, 65 damaged database, 69 address taken, 74 disk, 77 no
rights, 78 configuration.`;

export function addMasterCommand(program: Command): void {
  addStoreOptions(addTlsServerOptions(program.command("master")))
    .description("decide who has which addresses: serves the agents of a cluster")
    .requiredOption("--config <file>", "configuration of the networks, YAML or JSON")
    .option("--listen <address:port>", "where agents find the master; port 0 takes a free one", "0.0.0.0:5050")
    .option("--socket <path>", "Unix socket for commands of this host, for root only", "/run/weft/master.sock")
    .option(
      "--gossip <address:port>",
      "where gossip is spoken over UDP (default: the address of --listen, or this host's own, and port 62502)",
    )
    .option("--data-dir <directory>", "where the cluster's state and keys are kept", "/var/lib/weft/master")
    .option("--advertise <url>", "where the other masters find this one (default: from --listen and --gossip)")
    .option("--peer-ca <file>", "authority of the other masters' certificates, PEM")
    .option("--new-cluster", "with --store: this is the first master, it makes the cluster's key")
    .addOption(LOG_LEVEL_OPTION)
    .addOption(LOG_FORMAT_OPTION)
    .addHelpText("after", HELP)
    .action(async (flags: MasterFlags, command: Command) => {
      const { runMaster } = await import("./run.ts");
      await runMaster(flags, command.parent?.version() ?? "");
    });
}

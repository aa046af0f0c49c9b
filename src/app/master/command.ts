/**
 * `weft master`: options and their defaults, and the life of the process.
 */
import type { Command } from "commander";
import { SYSTEM_CLOCK } from "../../io/clock.ts";
import { parseTcpAddress } from "../../io/http-server.ts";
import { createLog } from "../../io/log.ts";
import type { UdpAddress } from "../../io/ports.ts";
import { SYSTEM_RANDOM } from "../../io/random.ts";
import { sourceAddressTowards } from "../../io/source-address.ts";
import { openMasterDisk } from "../../io/store/sqlite-control-store.ts";
import { SYSTEM_UDP } from "../../io/udp.ts";
import { Fault } from "../../model/fault.ts";
import { type Ip, parseIp } from "../../model/ip.ts";
import { awaitEnding, LOG_FORMAT_OPTION, LOG_LEVEL_OPTION, type LogFlags } from "../daemon.ts";
import { addTlsServerOptions, type TlsServerFlags, tlsServerOf } from "../tls-options.ts";
import { readClusterConfig } from "./config-file.ts";
import { secretsIn } from "./secrets.ts";
import { startMaster } from "./start.ts";

interface MasterFlags extends LogFlags, TlsServerFlags {
  readonly config: string;
  readonly listen: string;
  readonly socket: string;
  readonly gossip?: string;
  readonly dataDir: string;
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

With --tls-cert and --tls-key it serves https, and agents name it https://…
with --tls-ca. With --tls-client-ca a client's certificate stands for a token.

SIGTERM and SIGINT end the master; what it answered before is on the disk,
whichever way it ends.
Exit status: 0 ended, 65 damaged database, 69 address taken, 74 disk, 77 no
rights, 78 configuration.`;

export function addMasterCommand(program: Command): void {
  addTlsServerOptions(program.command("master"))
    .description("decide who has which addresses: serves the agents of a cluster")
    .requiredOption("--config <file>", "configuration of the networks, YAML or JSON")
    .option("--listen <address:port>", "where agents find the master; port 0 takes a free one", "0.0.0.0:5050")
    .option("--socket <path>", "Unix socket for commands of this host, for root only", "/run/weft/master.sock")
    .option(
      "--gossip <address:port>",
      "where gossip is spoken over UDP (default: the address of --listen, or this host's own, and port 62502)",
    )
    .option("--data-dir <directory>", "where the cluster's state is kept", "/var/lib/weft/master")
    .addOption(LOG_LEVEL_OPTION)
    .addOption(LOG_FORMAT_OPTION)
    .addHelpText("after", HELP)
    .action((flags: MasterFlags, command: Command) => runMaster(flags, command.parent?.version() ?? ""));
}

/** Runs until a signal ends it. @throws Fault as `startMaster`, bad-config, in-use */
async function runMaster(flags: MasterFlags, version: string): Promise<void> {
  const parsed = readClusterConfig(flags.config);
  const log = createLog(flags.logLevel, flags.logFormat);
  const tls = tlsServerOf(flags);
  const gossip = await gossipAddress(flags);
  const disk = openMasterDisk(flags.dataDir);
  try {
    const secrets = secretsIn(flags.dataDir, !disk.control.leadNow().loadNow().entries.has("epochs"));
    const ending = awaitEnding();
    const master = await startMaster(
      { ...parsed, listen: flags.listen, socket: flags.socket, gossip, version, ...(tls && { tls }) },
      { disk, clock: SYSTEM_CLOCK, random: SYSTEM_RANDOM, udp: SYSTEM_UDP, log, secrets, onBug: ending.fail },
    );
    try {
      log.info({ signal: await ending.signal }, "master ends");
    } finally {
      await master.close();
    }
  } finally {
    disk.close();
  }
}

const GOSSIP_PORT = 62_502;
/** RFC 5737: nobody's. It is only looked up by which address this host would speak to it; nothing is sent. */
const ELSEWHERE = "192.0.2.1";

/** @throws Fault bad-request */
async function gossipAddress({ gossip, listen }: MasterFlags): Promise<UdpAddress> {
  const { host, port } = parseTcpAddress(gossip ?? listen);
  const ip = parseIp(host);
  if (ip !== undefined && !isWildcard(ip)) return { ip, port: gossip === undefined ? GOSSIP_PORT : port };
  if (gossip !== undefined)
    throw new Fault(
      "bad-request",
      `--gossip ${gossip} names no address of this host; give one such as 10.0.0.10:62502`,
    );
  const own = await sourceAddressTowards(ELSEWHERE).catch(() => undefined);
  if (own !== undefined && !isWildcard(own)) return { ip: own, port: GOSSIP_PORT };
  throw new Fault(
    "bad-request",
    "this host has no default route to tell its address; give it with --gossip ADDRESS:PORT",
  );
}

function isWildcard(ip: Ip): boolean {
  return ip === "0.0.0.0" || ip === "::";
}

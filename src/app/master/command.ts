/**
 * `weft master`: options and their defaults, and the life of the process.
 */
import { join } from "node:path";
import type { Command } from "commander";
import { SYSTEM_CLOCK } from "../../io/clock.ts";
import { readSecretFile } from "../../io/crypto/secret-file.ts";
import { parseTcpAddress } from "../../io/http-server.ts";
import { createLog, type Log } from "../../io/log.ts";
import type { ControlStore, UdpAddress } from "../../io/ports.ts";
import { SYSTEM_RANDOM } from "../../io/random.ts";
import { sourceAddressTowards } from "../../io/source-address.ts";
import { openEtcdControlStore } from "../../io/store/etcd/etcd-control-store.ts";
import { type EtcdUrl, parseEtcdUrl } from "../../io/store/etcd/etcd-url.ts";
import { openMasterDisk } from "../../io/store/sqlite-control-store.ts";
import { SYSTEM_UDP } from "../../io/udp.ts";
import { Fault } from "../../model/fault.ts";
import { type Ip, parseIp } from "../../model/ip.ts";
import { awaitEnding, LOG_FORMAT_OPTION, LOG_LEVEL_OPTION, type LogFlags } from "../daemon.ts";
import {
  addTlsServerOptions,
  readPem,
  type TlsClientFlags,
  type TlsServerFlags,
  tlsClientOf,
  tlsServerOf,
} from "../tls-options.ts";
import { readClusterConfig } from "./config-file.ts";
import { masterIdIn, secretsIn } from "./secrets.ts";
import { startMaster } from "./start.ts";

interface MasterFlags extends LogFlags, TlsServerFlags {
  readonly config: string;
  readonly listen: string;
  readonly socket: string;
  readonly gossip?: string;
  readonly dataDir: string;
  readonly store?: string;
  readonly storePasswordFile?: string;
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
  addTlsServerOptions(program.command("master"))
    .description("decide who has which addresses: serves the agents of a cluster")
    .requiredOption("--config <file>", "configuration of the networks, YAML or JSON")
    .option("--listen <address:port>", "where agents find the master; port 0 takes a free one", "0.0.0.0:5050")
    .option("--socket <path>", "Unix socket for commands of this host, for root only", "/run/weft/master.sock")
    .option(
      "--gossip <address:port>",
      "where gossip is spoken over UDP (default: the address of --listen, or this host's own, and port 62502)",
    )
    .option("--data-dir <directory>", "where the cluster's state and keys are kept", "/var/lib/weft/master")
    .option("--store <url>", "etcd://HOST:PORT,… where several masters keep the state (default: --data-dir)")
    .option("--store-password-file <file>", "holds the password of the user in --store")
    .option("--advertise <url>", "where the other masters find this one (default: from --listen and --gossip)")
    .option("--peer-ca <file>", "authority of the other masters' certificates, PEM")
    .option("--new-cluster", "with --store: this is the first master, it makes the cluster's key")
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
    const shared = sharedStoreOf(flags, log);
    if (shared !== undefined) requireClusterKey(flags);
    const ending = awaitEnding();
    const { listen, socket, dataDir, peerCa } = flags;
    const self = { id: masterIdIn(dataDir), url: flags.advertise ?? ownUrl(listen, gossip, tls !== undefined) };
    const master = await startMaster(
      {
        ...parsed,
        listen,
        socket,
        gossip,
        self,
        version,
        ...(tls && { tls }),
        ...(peerCa !== undefined && { peerCa: readPem("--peer-ca", peerCa) }),
      },
      {
        disk,
        ...(shared && { store: shared }),
        clock: SYSTEM_CLOCK,
        random: SYSTEM_RANDOM,
        udp: SYSTEM_UDP,
        log,
        secrets: (isNew) => secretsIn(dataDir, isNew),
        onBug: ending.fail,
      },
    );
    try {
      log.info({ signal: await ending.signal }, "master ends");
    } finally {
      await master.close();
      await shared?.close();
    }
  } finally {
    disk.close();
  }
}

/** The etcd that --store names; absent: this master keeps the cluster's state itself. @throws Fault bad-request, no-rights */
function sharedStoreOf({ store, storePasswordFile }: MasterFlags, log: Log): ControlStore | undefined {
  if (store === undefined) return undefined;
  const { endpoints, prefix, user, files, isSecure, text } = parseEtcdUrl(store);
  const password = storePasswordFile === undefined ? undefined : readSecretFile(storePasswordFile)?.trim();
  if ((user === undefined) !== (password === undefined))
    throw new Fault(
      "bad-request",
      "a user of etcd is named in --store (etcd://USER@HOST:PORT) and its password is in --store-password-file; give both",
    );
  const tls = isSecure ? (tlsClientOf(namesOf(files)) ?? {}) : undefined;
  return openEtcdControlStore({
    endpoints,
    prefix,
    ...(tls && { tls }),
    ...(user !== undefined && password !== undefined && { credentials: { user, password } }),
    onTrouble: ({ code, message }) => log.warn({ store: text, code }, message),
  });
}

function namesOf({ ca, cert, key }: EtcdUrl["files"]): TlsClientFlags {
  return {
    ...(ca !== undefined && { tlsCa: ca }),
    ...(cert !== undefined && { tlsCert: cert }),
    ...(key !== undefined && { tlsKey: key }),
  };
}

/**
 * Masters of one cluster have one signing key. It is never made up where others may have it already.
 * @throws Fault bad-config
 */
function requireClusterKey({ dataDir, newCluster }: MasterFlags): void {
  const path = join(dataDir, "cluster.key");
  if (newCluster === true || readSecretFile(path) !== undefined) return;
  throw new Fault(
    "bad-config",
    `${path} is missing: all masters of a cluster have the same one. Copy it from another master (mode 0600); the first ` +
      "master of a new cluster is started with --new-cluster and makes it",
    { path },
  );
}

/** Where the other masters find this one, unless --advertise says so. */
function ownUrl(listen: string, gossip: UdpAddress, isSecure: boolean): string {
  const { host, port } = parseTcpAddress(listen);
  const ip = parseIp(host);
  const own = ip === undefined || isWildcard(ip) ? gossip.ip : ip;
  return `${isSecure ? "https" : "http"}://${own.includes(":") ? `[${own}]` : own}:${port}`;
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

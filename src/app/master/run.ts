/**
 * The life of the master's process. Loaded when `weft master` is what is wanted: no other command pays for it.
 */
import { join } from "node:path";
import { SYSTEM_CLOCK } from "../../io/clock.ts";
import { signerOf } from "../../io/crypto/keys.ts";
import { readSecretFile } from "../../io/crypto/secret-file.ts";
import { parseTcpAddress } from "../../io/http-server.ts";
import { createLog, type Log } from "../../io/log.ts";
import type { ControlStore, UdpAddress } from "../../io/ports.ts";
import { SYSTEM_RANDOM } from "../../io/random.ts";
import { sourceAddressTowards } from "../../io/source-address.ts";
import { openEtcdControlStore } from "../../io/store/etcd/etcd-control-store.ts";
import { openMasterDisk } from "../../io/store/sqlite-control-store.ts";
import { SYSTEM_UDP } from "../../io/udp.ts";
import { Fault } from "../../model/fault.ts";
import { type Ip, parseIp } from "../../model/ip.ts";
import { toText } from "../../model/trust/bytes.ts";
import { awaitEnding } from "../daemon.ts";
import { readPem, tlsServerOf } from "../tls-options.ts";
import { foreignKey } from "./cluster-trust.ts";
import type { MasterFlags } from "./command.ts";
import { readClusterConfig } from "./config-file.ts";
import { clusterKeyOf, IDENTITY } from "./control-records.ts";
import { masterIdIn, secretsIn } from "./secrets.ts";
import { startMaster } from "./start.ts";
import { etcdChoiceOf } from "./store-option.ts";

/** Runs until a signal ends it. @throws Fault as `startMaster`, bad-config, in-use */
export async function runMaster(flags: MasterFlags, version: string): Promise<void> {
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

/** The etcd that --store names; absent: this master keeps the cluster's state itself. @throws Fault as `etcdChoiceOf` */
function sharedStoreOf(flags: MasterFlags, log: Log): ControlStore | undefined {
  const choice = etcdChoiceOf(flags);
  if (choice === undefined) return undefined;
  const { text, ...access } = choice;
  return openEtcdControlStore({
    ...access,
    // Refused at once, and not when this master leads: that may be the moment in which it is needed.
    check: { entry: IDENTITY, accept: (identity) => requireSameCluster(identity, flags.dataDir) },
    onTrouble: ({ code, message }) => log.warn({ store: text, code }, message),
  });
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

/** @throws Fault bad-config */
function requireSameCluster(identity: unknown, dataDir: string): void {
  const stored = clusterKeyOf(identity);
  const text = readSecretFile(join(dataDir, "cluster.key"));
  const signer = text === undefined ? undefined : signerOf(text);
  const own = signer && toText(signer.publicKey);
  if (stored !== undefined && stored !== own) throw foreignKey(stored, own);
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

/**
 * The life of the master's process. Loaded when `weft master` is what is wanted: no other command pays for it.
 */
import { SYSTEM_CLOCK } from "../../io/clock.ts";
import { parseTcpAddress } from "../../io/http-server.ts";
import { createLog } from "../../io/log.ts";
import type { UdpAddress } from "../../io/ports.ts";
import { SYSTEM_RANDOM } from "../../io/random.ts";
import { sourceAddressTowards } from "../../io/source-address.ts";
import { openMasterStore } from "../../io/store/sqlite-store.ts";
import { SYSTEM_UDP } from "../../io/udp.ts";
import { Fault } from "../../model/fault.ts";
import { type Ip, parseIp } from "../../model/ip.ts";
import { awaitEnding } from "../daemon.ts";
import { tlsServerOf } from "../tls-options.ts";
import type { MasterFlags } from "./command.ts";
import { readClusterConfig } from "./config-file.ts";
import { secretsIn } from "./secrets.ts";
import { startMaster } from "./start.ts";

/** Runs until a signal ends it. @throws Fault as `startMaster`, bad-config, in-use */
export async function runMaster(flags: MasterFlags, version: string): Promise<void> {
  const parsed = readClusterConfig(flags.config);
  const log = createLog(flags.logLevel, flags.logFormat);
  const tls = tlsServerOf(flags);
  const gossip = await gossipAddress(flags);
  const store = openMasterStore(flags.dataDir);
  try {
    const secrets = secretsIn(flags.dataDir, store.loadTrust().epochs === undefined);
    const ending = awaitEnding();
    const master = await startMaster(
      { ...parsed, listen: flags.listen, socket: flags.socket, gossip, version, ...(tls && { tls }) },
      { store, clock: SYSTEM_CLOCK, random: SYSTEM_RANDOM, udp: SYSTEM_UDP, log, secrets, onBug: ending.fail },
    );
    try {
      log.info({ signal: await ending.signal }, "master ends");
    } finally {
      await master.close();
    }
  } finally {
    store.close();
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

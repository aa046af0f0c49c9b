/**
 * The life of the agent's process. Loaded when `weft agent` is what is wanted: no other command pays for it.
 */
import { join } from "node:path";
import { SYSTEM_CLOCK } from "../../io/clock.ts";
import { signerInFile } from "../../io/crypto/secret-file.ts";
import { EngineClient } from "../../io/docker/engine-client.ts";
import { HOST_SOCKETS } from "../../io/host-sockets.ts";
import { useHook } from "../../io/kernel/kernel-sockets.ts";
import { openLinuxKernel } from "../../io/kernel/linux-kernel.ts";
import { createLog } from "../../io/log.ts";
import { parseMasterAddress } from "../../io/master-call.ts";
import { type AgentCredentials, openMasterClient } from "../../io/master-client.ts";
import { PLUGIN_RUNNER } from "../../io/plugin-runner.ts";
import type { AgentStore } from "../../io/ports.ts";
import { SYSTEM_RANDOM } from "../../io/random.ts";
import { sourceAddressTowards } from "../../io/source-address.ts";
import { openAgentStore } from "../../io/store/sqlite-store.ts";
import { readTokenFile } from "../../io/token-file.ts";
import { SYSTEM_UDP } from "../../io/udp.ts";
import type { AgentNetworkConfig } from "../../model/cluster.ts";
import { Fault } from "../../model/fault.ts";
import { type Ip, parseIp } from "../../model/ip.ts";
import { awaitEnding } from "../daemon.ts";
import { tlsClientOf } from "../tls-options.ts";
import type { AgentFlags } from "./command.ts";
import { type AgentOptions, startAgent } from "./start.ts";

/** Runs until a signal ends it. @throws Fault as `startAgent`, in-use, corrupt-store, identity-taken */
export async function runAgent(flags: AgentFlags, version: string): Promise<void> {
  const log = createLog(flags.logLevel, flags.logFormat);
  const tls = tlsClientOf(flags);
  const urls = flags.master.split(",");
  const options = await optionsOf(flags, urls, version);
  const store = openAgentStore(flags.dataDir);
  const credentials = credentialsOf(flags, store);
  const client = openMasterClient(urls, credentials, { ...(tls && { tls }) });
  if (flags.datapathHook !== undefined) useHook(flags.datapathHook);
  const kernel = openLinuxKernel();
  try {
    const ending = awaitEnding();
    const agent = await startAgent(options, {
      kernel,
      store,
      plugins: PLUGIN_RUNNER,
      sockets: HOST_SOCKETS,
      engine: new EngineClient({ socket: flags.dockerSocket }),
      clock: SYSTEM_CLOCK,
      random: SYSTEM_RANDOM,
      log,
      client,
      udp: SYSTEM_UDP,
      signer: credentials.signer,
      onFatal: ending.fail,
      onBug: ending.fail,
    });
    try {
      log.info({ signal: await ending.signal }, "agent ends; the network stays as it is");
    } finally {
      await agent.close();
    }
  } finally {
    kernel.close();
    store.close();
  }
}

/** @throws Fault no-rights, storage, corrupt-store, bad-request */
export function credentialsOf(
  { dataDir, joinTokenFile, newCluster }: Pick<AgentFlags, "dataDir" | "joinTokenFile" | "newCluster">,
  store: AgentStore,
): AgentCredentials {
  const joinToken = () =>
    joinTokenFile === undefined ? undefined : readTokenFile(joinTokenFile, "join", "--join-token-file");
  // What is wrong with the file is said at the start, and not by a log line an hour later. A member may do without.
  if (newCluster === true || store.membership() === undefined) joinToken();
  const signer = signerInFile(join(dataDir, "identity.key"));
  // Last: who is refused above is still a member of its own cluster.
  if (newCluster === true) store.forgetMembership();
  return {
    signer,
    membership: () => store.membership(),
    joinToken,
  };
}

async function optionsOf(flags: AgentFlags, urls: readonly string[], version: string): Promise<AgentOptions> {
  // All of them are read, so that a mistyped one is refused before anything is touched.
  const [first] = urls.map((url) => parseMasterAddress(url).text);
  return {
    ip: flags.ip === undefined ? await ipTowards(first ?? "") : givenIp(flags.ip),
    hostname: flags.hostname,
    networkConfig: networkConfigOf(flags),
    listen: flags.listen,
    socketPath: flags.socket,
    gossipPort: flags.gossipPort,
    datapathLevel: flags.datapathLevel,
    ...(flags.cniConfDir !== "" && { cniConfDir: flags.cniConfDir }),
    ...(flags.dockerPluginDir !== "" &&
      networkConfigOf(flags).dockerBridge && { dockerPluginDir: flags.dockerPluginDir }),
    version,
  };
}

function networkConfigOf({ subnets, containers, mesosBridge, dockerBridge }: AgentFlags): AgentNetworkConfig {
  return {
    allocateSubnet: subnets,
    mesosBridge: subnets && containers && mesosBridge,
    dockerBridge: subnets && containers && dockerBridge,
  };
}

function givenIp(text: string): Ip {
  const ip = parseIp(text);
  if (ip === undefined) throw new Fault("bad-request", `--ip ${text} is not an IP address; give one such as 10.0.0.11`);
  return ip;
}

function ipTowards(masterUrl: string): Promise<Ip> {
  if (masterUrl.startsWith("unix:"))
    throw new Fault("bad-request", `${masterUrl} does not tell this host's address; give it with --ip ADDRESS`);
  return sourceAddressTowards(new URL(masterUrl).hostname.replace(/^\[|\]$/g, ""));
}

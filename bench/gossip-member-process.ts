/**
 * A member of Weft's gossip and nothing else, as a process: the member that agents are, with real sockets, seals and
 * signatures, on the papers that the benchmark issued. What it holds of others it says in its log, as agents do.
 *
 * Arguments: a JSON file (`MemberFile`), and which of its members this is. Nothing is kept on disk, as with serf.
 */
import { readFileSync } from "node:fs";
import { flushCompileCache } from "node:module";
import { ClusterMember } from "../src/app/gossip/cluster-member.ts";
import { INSTANCE_KEY } from "../src/app/gossip/record-keys.ts";
import { ASSIGNMENT_KEY } from "../src/core/trust/directory.ts";
import { SYSTEM_CLOCK } from "../src/io/clock.ts";
import { signerOf } from "../src/io/crypto/keys.ts";
import { createLog } from "../src/io/log.ts";
import type { GossipStore } from "../src/io/ports.ts";
import { SYSTEM_RANDOM } from "../src/io/random.ts";
import { SYSTEM_UDP } from "../src/io/udp.ts";
import { assert } from "../src/model/fault.ts";
import { ip } from "../src/model/ip.ts";
import type { Signer } from "../src/model/trust/member.ts";
import { membershipSchema } from "../src/model/trust/membership.ts";

export interface MemberFile {
  readonly members: readonly {
    readonly address: string;
    readonly port: number;
    readonly pem: string;
    readonly agentId: string;
    /** As `membershipJson` writes it. */
    readonly membership: object;
  }[];
}

const NO_STORE: GossipStore = {
  gossipGen: () => 0,
  saveGossipGen: () => {},
  gossipMembers: () => [],
  saveGossipMembers: () => {},
  newestWords: () => [],
  saveNewestWords: () => {},
};
const HOUR_MS = 3_600_000;

const { members } = JSON.parse(readFileSync(process.argv[2] as string, "utf8")) as MemberFile;
const own = members[Number(process.argv[3])];
assert(own !== undefined, "the second argument is the number of a member");
const membership = membershipSchema.parse(own.membership);
const signer = signerOf(own.pem) as Signer;
const member = await ClusterMember.open({ ip: ip(own.address), port: own.port }, membership, {
  udp: SYSTEM_UDP,
  clock: SYSTEM_CLOCK,
  random: SYSTEM_RANDOM,
  store: NO_STORE,
  log: createLog("debug", "text"),
  signer,
  ownAgentId: own.agentId,
  onChanges: () => {},
});
member.start();
member.publish(
  new Map([
    [ASSIGNMENT_KEY, membership.statement],
    [INSTANCE_KEY, Buffer.from(SYSTEM_RANDOM.uuid())],
  ]),
);
flushCompileCache(); // it ends by SIGKILL, and the next ones are to find no types to strip
setInterval(() => {}, HOUR_MS); // neither the clock's timers nor the socket need keep it alive

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { seededRandom } from "../../../test/support/seeded-random.ts";
import { newSigner } from "../../../test/support/trust.ts";
import { FLOOR_KEY, REMOVAL_KEY } from "../../core/trust/directory.ts";
import { newSecret, verifySignature } from "../../io/crypto/keys.ts";
import { SILENT_LOG } from "../../io/log.ts";
import { SimClock } from "../../io/sim-clock.ts";
import { SimNetwork } from "../../io/sim-udp.ts";
import { openMemoryMasterDisk } from "../../io/store/memory-store.ts";
import { ip } from "../../model/ip.ts";
import { EPOCH_FLOOR_DELAY_MS, REMOVALS_MAX, REMOVALS_READ_MAX } from "../../model/limits.ts";
import { issueCredential } from "../../model/trust/credential.ts";
import type { Signer } from "../../model/trust/member.ts";
import { issueEpochFloor, issueRemoval, type Removal, verifyEpochFloor } from "../../model/trust/removal.ts";
import type { ClusterTrust } from "./cluster-trust.ts";
import { MasterGossip } from "./master-gossip.ts";

/** The trust of a cluster whose master this is, as far as gossip asks, to be changed. */
function trustOf(cluster: Signer, signer: Signer) {
  const { publicKey } = signer;
  return {
    clusterKey: cluster.publicKey,
    credential: issueCredential({ role: "master", publicKey, agentId: "master-1", epoch: 9 }, cluster),
    signer,
    removals: [] as Uint8Array[],
    refusals: { floor: 0, removals: [] as Removal[] },
    epochFloor: issueEpochFloor(0, cluster),
    keys: { keys: [{ id: 1, key: newSecret() }], sendingId: 1 },
    onChange: () => {},
    seeds: [],
    floorToTell: undefined as Uint8Array | undefined,
    memberOf: () => undefined,
  };
}

async function opened(t: TestContext) {
  const [cluster, clock] = [newSigner(), new SimClock()];
  const trust = trustOf(cluster, newSigner());
  const gossip = await MasterGossip.open(
    { ip: ip("10.0.0.1"), port: 62_502 },
    {
      trust: trust as unknown as ClusterTrust,
      udp: new SimNetwork(clock).host(ip("10.0.0.1")),
      clock,
      random: { fraction: seededRandom(1).fraction, uuid: () => "start" },
      store: openMemoryMasterDisk().gossip,
      log: SILENT_LOG,
      onAgent: () => {},
    },
  );
  t.after(() => gossip.close());
  return { cluster, clock, trust, gossip };
}

test("a risen epoch floor is told after the words that living agents were given meanwhile", async (t) => {
  const { cluster, clock, trust, gossip } = await opened(t);
  gossip.start();
  clock.advance(2_000);
  const verified = (bytes: Uint8Array | undefined) =>
    bytes && verifyEpochFloor(bytes, cluster.publicKey, verifySignature);
  const told = () => [verified(gossip.member.gossip.value(gossip.member.id, FLOOR_KEY)), verified(trust.floorToTell)];
  assert.deepEqual(told(), [0, 0]);
  trust.epochFloor = issueEpochFloor(5, cluster);
  trust.onChange();
  clock.advance(EPOCH_FLOOR_DELAY_MS - 1);
  assert.deepEqual(told(), [0, 0], "neither by gossip nor to who registers");
  clock.advance(1);
  assert.deepEqual(told(), [5, 5]);
});

test("as many removals as are ever kept are told, also after others, and of more those that are the newest", async (t) => {
  const { cluster, clock, trust, gossip } = await opened(t);
  const all = Array.from({ length: 2_000 }, (_, epoch) => {
    const removal = { agentId: `agent-${epoch}`, memberId: epoch.toString(16).padStart(16, "0"), epoch };
    return { removal, signed: issueRemoval(removal, cluster) };
  });
  const keep = (from: number, to: number) => {
    trust.refusals.removals = all.slice(from, to).map(({ removal }) => removal);
    trust.removals = all.slice(from, to).map(({ signed }) => signed);
  };
  const { id, gossip: node } = gossip.member;
  const told = () =>
    trust.refusals.removals.filter(({ memberId }) => node.value(id, REMOVAL_KEY + memberId) !== undefined);
  // What a version before this one may have kept.
  keep(0, REMOVALS_READ_MAX);
  gossip.start();
  clock.advance(2_000);
  assert.deepEqual(told(), trust.refusals.removals.slice(-REMOVALS_MAX));
  // The floor rises, and they become as many again.
  for (let from = 300; from + REMOVALS_MAX < all.length; from += 300) {
    const first = Math.max(REMOVALS_READ_MAX, from + REMOVALS_MAX - 300);
    for (let to = first; to <= from + REMOVALS_MAX; to += 1) {
      keep(from, to);
      trust.onChange();
    }
    assert.equal(told().length, REMOVALS_MAX);
  }
});

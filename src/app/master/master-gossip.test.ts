import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRandom } from "../../../test/support/seeded-random.ts";
import { newSigner } from "../../../test/support/trust.ts";
import { FLOOR_KEY } from "../../core/trust/directory.ts";
import { newSecret, verifySignature } from "../../io/crypto/keys.ts";
import { SILENT_LOG } from "../../io/log.ts";
import { SimClock } from "../../io/sim-clock.ts";
import { SimNetwork } from "../../io/sim-udp.ts";
import { openMemoryMasterDisk } from "../../io/store/memory-store.ts";
import { ip } from "../../model/ip.ts";
import { EPOCH_FLOOR_DELAY_MS } from "../../model/limits.ts";
import { issueCredential } from "../../model/trust/credential.ts";
import { issueEpochFloor, verifyEpochFloor } from "../../model/trust/removal.ts";
import type { ClusterTrust } from "./cluster-trust.ts";
import { MasterGossip } from "./master-gossip.ts";

test("a risen epoch floor is told after the words that living agents were given meanwhile", async () => {
  const [cluster, signer, clock] = [newSigner(), newSigner(), new SimClock()];
  const { publicKey } = signer;
  const trust = {
    clusterKey: cluster.publicKey,
    credential: issueCredential({ role: "master", publicKey, agentId: "master-1", epoch: 9 }, cluster),
    signer,
    removals: [],
    refusals: { floor: 0, removals: [] },
    epochFloor: issueEpochFloor(0, cluster),
    keys: { keys: [{ id: 1, key: newSecret() }], sendingId: 1 },
    onChange: () => {},
    seeds: [],
    floorToTell: undefined,
    memberOf: () => undefined,
  };
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
  await gossip.close();
});

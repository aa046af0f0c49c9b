/**
 * What an agent makes of a master's announcements.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { GossipMembers } from "../../../test/support/gossip-members.ts";
import { seededRandom } from "../../../test/support/seeded-random.ts";
import { newSigner } from "../../../test/support/trust.ts";
import { SILENT_LOG } from "../../io/log.ts";
import { openMemoryAgentStore } from "../../io/store/memory-store.ts";
import { ip } from "../../model/ip.ts";
import { issueCredential } from "../../model/trust/credential.ts";
import { ANNOUNCEMENT_KEY } from "../gossip/record-keys.ts";
import { AgentGossip } from "./agent-gossip.ts";

const SPREAD_MS = 8_000;

/** The agent's socket takes what came in a turn of Node's loop. */
async function spread(cluster: GossipMembers): Promise<void> {
  for (let ms = 0; ms < SPREAD_MS; ms += 50) {
    await setImmediate();
    cluster.run(50);
  }
}

test("an announcement that the admission answered is not fetched again, the next one is", async () => {
  const cluster = new GossipMembers();
  const [masterSigner, signer] = [newSigner(), newSigner()];
  const { publicKey } = masterSigner;
  const credential = issueCredential({ role: "master", publicKey, agentId: "master-1", epoch: 1 }, cluster.cluster);
  const master = await cluster.start(1, masterSigner, { ...cluster.papers(1, masterSigner), credential });
  const announce = (text: string) => master.member.publish(new Map([[ANNOUNCEMENT_KEY, Buffer.from(text)]]));
  announce("start 1");
  const asked: number[] = [];
  const gossip = new AgentGossip(
    { ip: ip("10.0.0.2"), port: 62_501 },
    {
      udp: cluster.network.host(ip("10.0.0.2")),
      clock: cluster.clock,
      random: { ...seededRandom(2), uuid: () => "uuid-2" },
      store: openMemoryAgentStore(),
      log: SILENT_LOG,
      signer,
      agentId: "agent-2",
      instanceId: "process-2",
      onPeers: () => {},
      onMembers: () => {},
      onReassigned: () => asked.push(cluster.clock.now()),
      onRemoved: () => {},
      onFatal: (fault) => assert.fail(fault),
    },
  );
  gossip.admitted({ ...cluster.papers(2, signer), statement: cluster.statement(2, signer) }, "start 1");
  await spread(cluster);
  assert.ok(gossip.member?.gossip.value(master.member.id, ANNOUNCEMENT_KEY) !== undefined, "it has heard of it");
  assert.equal(asked.length, 0);
  announce("start 2");
  await spread(cluster);
  assert.equal(asked.length, 1);
  await gossip.close();
});

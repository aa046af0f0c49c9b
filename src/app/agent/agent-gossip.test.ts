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
import type { Signer } from "../../model/trust/member.ts";
import { ANNOUNCEMENT_KEY } from "../gossip/record-keys.ts";
import { AgentGossip } from "./agent-gossip.ts";

const SPREAD_MS = 8_000;
const SILENCE_MS = 20_000;

/** The agent's socket takes what came in a turn of Node's loop. */
async function spread(cluster: GossipMembers, forMs = SPREAD_MS): Promise<void> {
  for (let ms = 0; ms < forMs; ms += 50) {
    await setImmediate();
    cluster.run(50);
  }
}

/** Agent 2; `asked` is told when it wants to register. */
function agent2(cluster: GossipMembers, signer: Signer, asked: () => void, store = openMemoryAgentStore()) {
  return new AgentGossip(
    { ip: ip("10.0.0.2"), port: 62_501 },
    {
      udp: cluster.network.host(ip("10.0.0.2")),
      clock: cluster.clock,
      random: { ...seededRandom(2), uuid: () => "uuid-2" },
      store,
      log: SILENT_LOG,
      signer,
      agentId: "agent-2",
      instanceId: "process-2",
      onPeers: () => {},
      onMembers: () => {},
      onReassigned: asked,
      onRemoved: () => {},
      onFatal: (fault) => assert.fail(fault),
    },
  );
}

const membership2 = (cluster: GossipMembers, signer: Signer) => ({
  ...cluster.papers(2, signer),
  statement: cluster.statement(2, signer),
});

test("an announcement that the admission answered is not fetched again, the next one is", async () => {
  const cluster = new GossipMembers();
  const [masterSigner, signer] = [newSigner(), newSigner()];
  const { publicKey } = masterSigner;
  const credential = issueCredential({ role: "master", publicKey, agentId: "master-1", epoch: 1 }, cluster.cluster);
  const master = await cluster.start(1, masterSigner, { ...cluster.papers(1, masterSigner), credential });
  const announce = (text: string) => master.member.publish(new Map([[ANNOUNCEMENT_KEY, Buffer.from(text)]]));
  announce("start 1");
  let asked = 0;
  const gossip = agent2(cluster, signer, () => asked++);
  gossip.admitted(membership2(cluster, signer), "start 1");
  await spread(cluster);
  assert.ok(gossip.member?.gossip.value(master.member.id, ANNOUNCEMENT_KEY) !== undefined, "it has heard of it");
  assert.equal(asked, 0);
  announce("start 2");
  await spread(cluster);
  assert.equal(asked, 1);
  await gossip.close();
});

test("an agent that hears nobody of a cluster that has others asks a master, again and again, until it does", async () => {
  const cluster = new GossipMembers();
  const signer = newSigner();
  const store = openMemoryAgentStore();
  const asked: number[] = [];
  /** When it asked, in ms since it began. */
  const live = async (gossip: AgentGossip, ...hears: boolean[]) => {
    const begun = cluster.clock.now();
    asked.length = 0;
    gossip.admitted(membership2(cluster, signer));
    for (const isHeard of hears) {
      cluster.network.fate = () => (isHeard ? [0] : []);
      await spread(cluster, 3 * SILENCE_MS);
    }
    await gossip.close();
    cluster.run(2 * SILENCE_MS);
    return asked.map((at) => at - begun);
  };
  const agent = (on = store) => agent2(cluster, signer, () => asked.push(cluster.clock.now()), on);
  await cluster.join(1);
  assert.deepEqual(await live(agent(openMemoryAgentStore()), false), [], "as far as it knows it is the only one");
  assert.deepEqual(await live(agent(), true), [], "it hears agent 1");
  // Its disk knows of agent 1 now.
  const times = [1, 2, 3].map((n) => n * SILENCE_MS);
  assert.deepEqual(await live(agent(), false), times, "and no more once it is closed");
  assert.deepEqual(await live(agent(), false, true), times, "and no more once it hears somebody");
  const again = agent();
  again.admitted(membership2(cluster, signer));
  await setImmediate();
  again.expelled();
  assert.deepEqual(await live(again, false), times, "let in anew it asks no more often");
});

test("an agent that is expelled while its socket is being opened does not speak", async () => {
  const cluster = new GossipMembers();
  const signer = newSigner();
  await cluster.join(1);
  const gossip = agent2(cluster, signer, () => {});
  for (const turns of [0, 1]) {
    gossip.admitted(membership2(cluster, signer));
    for (let turn = 0; turn < turns; turn++) await Promise.resolve();
    gossip.expelled();
    await spread(cluster);
    assert.equal(gossip.member, undefined);
  }
  gossip.admitted(membership2(cluster, signer));
  await spread(cluster);
  assert.ok(gossip.member !== undefined, "let in anew it does");
  await gossip.close();
});

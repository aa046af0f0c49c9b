/**
 * Somebody holds the gossip's key and wants more than it has. Each test sends the honest thing too, by the same way, and that
 * one must arrive.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FLOOR_KEY, REMOVAL_KEY } from "../../src/core/trust/directory.ts";
import { ip } from "../../src/model/ip.ts";
import { memberIdOf } from "../../src/model/trust/member.ts";
import { issueEpochFloor, issueRemoval } from "../../src/model/trust/removal.ts";
import { GossipMembers, type TestMember } from "../support/gossip-members.ts";
import { newSigner } from "../support/trust.ts";

const SPREAD_MS = 8_000;

/** Three honest hosts and the fourth one, which is a member and has published nothing. */
async function withRogue() {
  const cluster = new GossipMembers();
  const honest = [await cluster.join(1), await cluster.join(2), await cluster.join(3)];
  const rogue = await cluster.start(4);
  cluster.run(SPREAD_MS);
  for (const { name, peers } of honest)
    assert.deepEqual(
      peers(),
      ["agent-1", "agent-2", "agent-3"].filter((id) => id !== name),
    );
  return { cluster, honest, rogue };
}

/** Everything that honest hosts would program of others. */
function programmed(honest: readonly TestMember[]): string {
  return JSON.stringify(
    honest.map(({ member }) => [...member.directory.peers()].sort((a, b) => (a.id < b.id ? -1 : 1))),
  );
}

function disbelief(honest: readonly TestMember[], why: keyof TestMember["member"]["directory"]["disbelief"]): number[] {
  return honest.map(({ member }) => member.directory.disbelief[why]);
}

test("an assignment that the cluster did not sign changes nothing on any other host", async () => {
  const { cluster, honest, rogue } = await withRogue();
  const before = programmed(honest);
  cluster.assign(
    rogue,
    cluster.statement(4, rogue.signer, { by: rogue.signer, peer: { ...rogue.peer, subnets: cluster.peer(1).subnets } }),
  );
  cluster.run(SPREAD_MS);
  assert.equal(programmed(honest), before);
  for (const count of disbelief(honest, "bad-signature")) assert.ok(count > 0, "it arrived");
  cluster.assign(rogue, cluster.statement(4, rogue.signer));
  cluster.run(SPREAD_MS);
  for (const { peers } of honest) assert.ok(peers().includes("agent-4"), "the honest one is taken");
});

test("another host's assignment, shown as one's own, changes nothing, nor does one that was changed by a bit", async () => {
  const { cluster, honest, rogue } = await withRogue();
  const before = programmed(honest);
  const [victim] = honest as [TestMember];
  const stolen = cluster.statement(1, victim.signer);
  cluster.assign(rogue, stolen);
  cluster.run(SPREAD_MS);
  assert.equal(programmed(honest), before);
  for (const count of disbelief(honest, "not-its-own")) assert.ok(count > 0, "it arrived");
  const changed = cluster.statement(4, rogue.signer);
  changed[changed.length - 5] = (changed[changed.length - 5] ?? 0) ^ 1;
  cluster.assign(rogue, changed);
  cluster.run(SPREAD_MS);
  assert.equal(programmed(honest), before);
});

test("an older assignment of one's own does not come back", async () => {
  const { cluster, honest, rogue } = await withRogue();
  const moved = { ...rogue.peer, ip: ip("10.0.0.44") };
  cluster.assign(rogue, cluster.statement(4, rogue.signer, { revision: 2, peer: moved }));
  cluster.run(SPREAD_MS);
  const before = programmed(honest);
  assert.match(before, /10\.0\.0\.44/);
  cluster.assign(rogue, cluster.statement(4, rogue.signer, { revision: 1 }));
  cluster.run(SPREAD_MS);
  assert.equal(programmed(honest), before);
  for (const count of disbelief(honest, "older")) assert.ok(count > 0, "it arrived");
});

test("nor when it is taken away first, nor after the others have started anew", async () => {
  const { cluster, honest, rogue } = await withRogue();
  const first = cluster.statement(4, rogue.signer, { peer: { ...rogue.peer, subnets: cluster.peer(1).subnets } });
  const second = cluster.statement(4, rogue.signer, { revision: 2 });
  cluster.assign(rogue, second);
  cluster.run(SPREAD_MS);
  for (const { peers } of honest) assert.ok(peers().includes("agent-4"));
  cluster.assign(rogue, undefined);
  cluster.run(SPREAD_MS);
  cluster.assign(rogue, first);
  cluster.run(SPREAD_MS);
  for (const { peers } of honest) assert.ok(!peers().includes("agent-4"), "taken away first");
  const again: TestMember[] = [];
  for (const [at, { member, signer }] of honest.entries()) {
    await member.close(true);
    again.push(await cluster.start(at + 1, signer));
  }
  cluster.run(SPREAD_MS);
  for (const { peers } of again) assert.ok(!peers().includes("agent-4"), "in the next process");
  cluster.assign(rogue, second);
  cluster.run(SPREAD_MS);
  for (const { peers } of again) assert.ok(peers().includes("agent-4"), "the newest counts");
});

test("a disk that is full ends no member, and gets what it missed", async () => {
  const cluster = new GossipMembers();
  const [one, two] = [await cluster.join(1), await cluster.start(2)];
  cluster.run(SPREAD_MS);
  cluster.disk(1).full = true;
  cluster.assign(two, cluster.statement(2, two.signer));
  cluster.run(SPREAD_MS);
  assert.deepEqual(one.peers(), ["agent-2"]);
  cluster.disk(1).full = false;
  cluster.run(SPREAD_MS);
  await one.member.close(true);
  await two.member.close(true);
  const again = await cluster.start(1, one.signer);
  assert.deepEqual(again.peers(), ["agent-2"]);
});

test("who holds the key and no credential of the cluster is no member, and nobody hears it", async () => {
  const { cluster, honest } = await withRogue();
  const [victim] = honest as [TestMember];
  const stranger = newSigner();
  const forged = await cluster.start(5, stranger, cluster.papers(5, stranger, { by: stranger }));
  cluster.assign(forged, cluster.statement(5, stranger));
  // Somebody else's credential with one's own key.
  const thief = newSigner();
  const stolen = await cluster.start(6, thief, {
    ...cluster.papers(6, thief),
    credential: cluster.papers(1, victim.signer).credential,
  });
  cluster.assign(stolen, cluster.statement(6, thief));
  cluster.run(SPREAD_MS);
  for (const { member } of honest) {
    for (const signer of [stranger, thief]) assert.equal(member.gossip.member(memberIdOf(signer.publicKey)), undefined);
    assert.equal(member.gossip.size, 4);
  }
  assert.ok(
    honest.some(({ member }) => (member.gossip.refusals["bad-credential"] ?? 0) > 0),
    "they tried",
  );
  const late = await cluster.join(7);
  cluster.run(SPREAD_MS);
  assert.deepEqual(late.peers(), ["agent-1", "agent-2", "agent-3"], "who has papers comes in by the same door");
});

test("a removed host vanishes everywhere, and neither its papers nor its assignment count again", async () => {
  const { cluster, honest, rogue } = await withRogue();
  cluster.assign(rogue, cluster.statement(4, rogue.signer));
  cluster.run(SPREAD_MS);
  for (const { peers } of honest) assert.ok(peers().includes("agent-4"));
  const id = memberIdOf(rogue.signer.publicKey);
  const removal = { agentId: "agent-4", memberId: id, epoch: 1 };
  // A removal that is not the cluster's removes nobody.
  honest[1]?.member.publish(new Map([[REMOVAL_KEY + id, issueRemoval(removal, rogue.signer)]]));
  cluster.run(SPREAD_MS);
  for (const { peers } of honest) assert.ok(peers().includes("agent-4"), "nobody else can remove it");
  honest[2]?.member.publish(new Map([[REMOVAL_KEY + id, issueRemoval(removal, cluster.cluster)]]));
  cluster.run(SPREAD_MS);
  for (const { member, peers } of honest) {
    assert.ok(!peers().includes("agent-4"));
    assert.equal(member.gossip.member(id), undefined);
  }
  cluster.assign(rogue, cluster.statement(4, rogue.signer, { revision: 9 }));
  cluster.run(SPREAD_MS);
  for (const { peers } of honest) assert.ok(!peers().includes("agent-4"), "it goes on talking in vain");
  await rogue.member.close(false);
  const back = await cluster.start(8, rogue.signer, cluster.papers(4, rogue.signer, { epoch: 2 }));
  cluster.assign(back, cluster.statement(4, rogue.signer, { epoch: 2 }));
  cluster.run(SPREAD_MS);
  for (const { peers } of honest) assert.ok(peers().includes("agent-4"), "what was issued afterwards counts");
});

test("the epoch floor voids what is older, wherever it comes from, and only the cluster raises it", async () => {
  const { cluster, honest, rogue } = await withRogue();
  cluster.assign(rogue, cluster.statement(4, rogue.signer, { epoch: 3 }));
  rogue.member.renew(cluster.papers(4, rogue.signer, { epoch: 3 }));
  cluster.run(SPREAD_MS);
  rogue.member.publish(new Map([[FLOOR_KEY, issueEpochFloor(3, rogue.signer)]]));
  cluster.run(SPREAD_MS);
  for (const { peers } of honest) assert.equal(peers().length, 3);
  rogue.member.publish(new Map([[FLOOR_KEY, issueEpochFloor(3, cluster.cluster)]]));
  cluster.run(SPREAD_MS);
  for (const { name, peers } of honest) assert.deepEqual(peers(), ["agent-4"], `${name} holds what is young enough`);
});

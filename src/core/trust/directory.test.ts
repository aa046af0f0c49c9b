import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { HostTrust } from "../../../sim/hosts/host-trust.ts";
import { MasterRecords } from "../../../sim/hosts/master-records.ts";
import { newSigner } from "../../../test/support/trust.ts";
import { verifySignature } from "../../io/crypto/keys.ts";
import type { Peer } from "../../model/cluster.ts";
import { cidr, ip } from "../../model/ip.ts";
import { mac } from "../../model/mac.ts";
import { issueAssignmentStatement } from "../../model/trust/assignment-statement.ts";
import { memberIdOf } from "../../model/trust/member.ts";
import { issueRemoval } from "../../model/trust/removal.ts";
import type { NewestWord } from "../../model/trust/standing.ts";
import { ASSIGNMENT_KEY, Directory } from "./directory.ts";

function recordsOf(values: Readonly<Record<string, Uint8Array>>) {
  return { keys: () => Object.keys(values), value: (key: string) => values[key] };
}

describe("the directory of an agent", () => {
  it("does not count the agent itself among its peers", () => {
    const trust = new HostTrust();
    const masters = new MasterRecords(trust.cluster);
    const directory = new Directory(trust.cluster.publicKey, trust.verify, "agent-1");
    for (const n of [1, 2]) {
      const { publicKey } = trust.admitted();
      const { papers } = masters.register({ agentId: `agent-${n}`, ip: ip(`10.0.0.${n}`), publicKey });
      directory.update(memberIdOf(publicKey), recordsOf({ [ASSIGNMENT_KEY]: papers.statement }));
    }
    assert.deepEqual(
      [...directory.peers()].map(({ id }) => id),
      ["agent-2"],
    );
  });

  describe("believes of a member only what counts", () => {
    const cluster = newSigner();
    const { publicKey } = newSigner();
    const memberId = memberIdOf(publicKey);
    const peer = (id: string): Peer => ({
      id,
      ip: ip("10.0.0.4"),
      vtepIp: ip("44.128.0.4"),
      vtepMac: mac("70:b3:d5:80:00:04"),
      subnets: [cidr("9.0.4.0/24")],
    });
    const said = (epoch: number, revision: number, id = "agent-4") =>
      recordsOf({
        [ASSIGNMENT_KEY]: issueAssignmentStatement(
          { peer: peer(id), hostname: "host4", publicKey, epoch, revision },
          cluster,
        ),
      });
    const removed = (epoch: number) => issueRemoval({ agentId: "agent-4", memberId, epoch }, cluster);
    const fresh = () => new Directory(cluster.publicKey, verifySignature);

    it("what was issued after its removal, and not what a removal of before leaves", () => {
      const directory = fresh();
      directory.remove(removed(5));
      directory.remove(removed(1));
      assert.deepEqual(directory.update(memberId, said(3, 1)), []);
      assert.equal(directory.disbelief.removed, 1);
      assert.deepEqual(directory.update(memberId, said(6, 1)), [{ type: "peer", peer: peer("agent-4") }]);
    });

    it("no older word that was signed for another key of the same agent", () => {
      const directory = fresh();
      directory.update(memberId, said(2, 1));
      const former = newSigner().publicKey;
      const old = { peer: { ...peer("agent-4"), ip: ip("10.0.0.44") }, hostname: "host4", publicKey: former };
      const records = (epoch: number) =>
        recordsOf({ [ASSIGNMENT_KEY]: issueAssignmentStatement({ ...old, epoch, revision: 9 }, cluster) });
      assert.deepEqual(directory.update(memberIdOf(former), records(1)), []);
      assert.deepEqual(directory.update(memberIdOf(former), records(3)), [{ type: "peer", peer: old.peer }]);
    });

    it("and tells of the one that counts, also when its key has said the same before", () => {
      const directory = fresh();
      const other = newSigner().publicKey;
      const moved = { ...peer("agent-4"), ip: ip("10.0.0.44") };
      const subject = { peer: moved, hostname: "host4", publicKey: other, epoch: 2, revision: 1 };
      directory.update(memberId, said(1, 1));
      directory.update(memberIdOf(other), recordsOf({ [ASSIGNMENT_KEY]: issueAssignmentStatement(subject, cluster) }));
      assert.deepEqual([...directory.peers()], [moved]);
      assert.deepEqual(directory.update(memberId, said(3, 1)), [{ type: "peer", peer: peer("agent-4") }]);
    });

    it("nothing older than a word that it took away itself, nor in the next process", () => {
      const directory = fresh();
      directory.update(memberId, said(2, 5));
      assert.deepEqual(directory.update(memberId, recordsOf({})), [{ type: "gone", id: "agent-4" }]);
      assert.deepEqual(directory.update(memberId, said(2, 4)), []);
      const kept: NewestWord[] = [];
      assert.throws(() =>
        directory.keepNewest(() => {
          throw new Error("the disk is full");
        }),
      );
      directory.keepNewest((words) => kept.push(...words));
      directory.keepNewest(() => assert.fail("each is handed out once"));
      assert.deepEqual(kept, [{ agentId: "agent-4", epoch: 2, revision: 5 }]);
      const next = new Directory(cluster.publicKey, verifySignature, undefined, kept);
      assert.deepEqual(next.update(memberId, said(1, 9)), []);
      assert.equal(next.disbelief.older, 1);
      assert.deepEqual(next.update(memberId, said(2, 5)), [{ type: "peer", peer: peer("agent-4") }]);
      next.remove(removed(2));
      next.keepNewest((words, gone) => assert.deepEqual([words, gone], [[], ["agent-4"]], "the removal stands for it"));
      assert.deepEqual(next.update(memberId, said(2, 9)), []);
    });

    it("nothing older than its last word, also as another agent", () => {
      const directory = fresh();
      directory.update(memberId, said(1, 2));
      assert.deepEqual(directory.update(memberId, said(1, 1, "agent-9")), []);
      assert.equal(directory.disbelief.older, 1);
      assert.deepEqual(directory.update(memberId, said(1, 3, "agent-9")), [
        { type: "gone", id: "agent-4" },
        { type: "peer", peer: peer("agent-9") },
      ]);
    });
  });
});

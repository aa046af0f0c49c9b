import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { newSigner } from "../../../test/support/trust.ts";
import { verifySignature } from "../../io/crypto/keys.ts";
import { ASSIGNMENT_STATEMENT_MAX_BYTES, CREDENTIAL_MAX_BYTES, EPOCH_MAX, REMOVAL_MAX_BYTES } from "../limits.ts";
import { peerSchema } from "../schemas.ts";
import { assignmentText, issueAssignmentStatement, verifyAssignmentStatement } from "./assignment-statement.ts";
import { concat, u8 } from "./bytes.ts";
import { type Credential, issueCredential, verifyCredential } from "./credential.ts";
import { memberIdOf, type Signer, signedBytes, type Verify } from "./member.ts";
import { issueEpochFloor, issueRemoval, verifyEpochFloor, verifyRemoval } from "./removal.ts";
import { isNewer, isRefused } from "./standing.ts";

const CLUSTER = newSigner();
const STRANGER = newSigner();
const KEY = CLUSTER.publicKey;

const plain = <T extends object>(fields: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.record<T>(fields, { noNullPrototype: true });
const agentId = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/);
const epoch = fc.nat(EPOCH_MAX);
const publicKey = fc.uint8Array({ minLength: 32, maxLength: 32 });
const anyCredential = plain({ role: fc.constantFrom("agent", "master"), publicKey, agentId, epoch });
const anyRemoval = plain({ agentId, memberId: publicKey.map(memberIdOf), epoch });

const PEER = peerSchema.parse({
  id: "agent-1",
  ip: "10.0.0.11",
  vtepIp: "44.128.0.1",
  vtepIp6: "fd01:a::1",
  vtepMac: "70:b3:d5:80:00:01",
  subnets: ["9.0.1.0/24", "fd01:b:0:0:1::/80"],
});
const anyStatement = plain({
  peer: agentId.map((id) => ({ ...PEER, id })),
  hostname: fc.stringMatching(/^[!-~]{1,253}$/),
  publicKey,
  epoch,
  revision: epoch,
});

/** Each kind: a sample, how it is issued and how it is read. */
const KINDS: readonly { name: string; issue: (by: Signer) => Uint8Array; read: Reader }[] = [
  {
    name: "credential",
    issue: (by) => issueCredential({ role: "agent", publicKey: STRANGER.publicKey, agentId: "a", epoch: 7 }, by),
    read: verifyCredential,
  },
  {
    name: "assignment",
    issue: (by) =>
      issueAssignmentStatement({ peer: PEER, hostname: "h", publicKey: STRANGER.publicKey, epoch: 7, revision: 2 }, by),
    read: verifyAssignmentStatement,
  },
  {
    name: "removal",
    issue: (by) => issueRemoval({ agentId: "a", memberId: "00112233445566ff", epoch: 7 }, by),
    read: verifyRemoval,
  },
  { name: "floor", issue: (by) => issueEpochFloor(7, by), read: verifyEpochFloor },
];
type Reader = (bytes: Uint8Array, clusterKey: Uint8Array, verify: Verify) => unknown;
const read = (reader: Reader, bytes: Uint8Array) => reader(bytes, KEY, verifySignature);

test("what the cluster says comes back as it was said", () => {
  fc.assert(
    fc.property(anyCredential, (credential) => {
      const bytes = issueCredential(credential as Credential, CLUSTER);
      assert.ok(bytes.length <= CREDENTIAL_MAX_BYTES);
      assert.deepEqual(read(verifyCredential, bytes), credential);
    }),
  );
  fc.assert(
    fc.property(anyStatement, (statement) => {
      assert.deepEqual(read(verifyAssignmentStatement, issueAssignmentStatement(statement, CLUSTER)), statement);
    }),
  );
  fc.assert(
    fc.property(anyRemoval, (removal) => {
      const bytes = issueRemoval(removal, CLUSTER);
      assert.ok(bytes.length <= REMOVAL_MAX_BYTES);
      assert.deepEqual(read(verifyRemoval, bytes), removal);
    }),
  );
  fc.assert(fc.property(epoch, (floor) => read(verifyEpochFloor, issueEpochFloor(floor, CLUSTER)) === floor));
});

test("no kind is taken for another, and nobody else's word for the cluster's", () => {
  for (const { name, issue, read: own } of KINDS) {
    assert.notEqual(read(own, issue(CLUSTER)), undefined, `${name}: the honest one is read`);
    assert.equal(read(own, issue(STRANGER)), undefined, `${name} of another key`);
    for (const other of KINDS.filter((each) => each.name !== name))
      assert.equal(read(other.read, issue(CLUSTER)), undefined, `${name} as ${other.name}`);
  }
});

test("a signature over the same bytes of another kind does not hold", () => {
  // A signer that signs whatever it is given as if it were a removal.
  const confused: Signer = {
    publicKey: KEY,
    sign: (bytes) => CLUSTER.sign(signedBytes("weft removal v1", bytes.subarray(bytes.indexOf(0) + 1))),
  };
  for (const { name, issue, read: own } of KINDS)
    assert.equal(read(own, issue(confused)) !== undefined, name === "removal", name);
});

test("a changed bit anywhere, a byte more or less, another version: nothing is read", () => {
  for (const { name, issue, read: own } of KINDS) {
    const bytes = issue(CLUSTER);
    fc.assert(
      fc.property(fc.nat(bytes.length * 8 - 1), (bit) => {
        const changed = new Uint8Array(bytes);
        changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7));
        assert.equal(read(own, changed), undefined, `${name}, bit ${bit}`);
      }),
    );
    for (const other of [
      bytes.subarray(0, -1),
      concat(bytes, u8(0)),
      bytes.subarray(1),
      concat(u8(2), bytes.subarray(1)),
    ])
      assert.equal(read(own, other), undefined, name);
  }
});

test("noise of any length is read as nothing, and throws nothing, even where every signature holds", () => {
  const gullible: Verify = () => true;
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), fc.boolean(), (noise, hasVersion) => {
      const bytes = hasVersion ? concat(u8(1), noise) : noise;
      for (const { read: own } of KINDS) {
        assert.equal(read(own, bytes), undefined);
        own(bytes, KEY, gullible);
      }
    }),
    { numRuns: 2_000 },
  );
});

test("what is larger than its bound is not even looked at", () => {
  const never: Verify = () => assert.fail("no signature is checked");
  const bounds = [CREDENTIAL_MAX_BYTES, ASSIGNMENT_STATEMENT_MAX_BYTES, REMOVAL_MAX_BYTES, REMOVAL_MAX_BYTES];
  for (const [i, { read: own }] of KINDS.entries())
    assert.equal(own(new Uint8Array((bounds[i] as number) + 1).fill(1), KEY, never), undefined);
});

test("a field that a later version adds survives: what is signed is what is passed on", () => {
  const statement = { peer: PEER, hostname: "h", publicKey: STRANGER.publicKey, epoch: 7, revision: 2 };
  const later = { ...(JSON.parse(assignmentText(statement)) as object), zone: "b" };
  const json = Buffer.from(JSON.stringify(later));
  const bytes = concat(u8(1), CLUSTER.sign(signedBytes("weft assignment v1", json)), json);
  assert.deepEqual(read(verifyAssignmentStatement, bytes), statement);
  assert.match(Buffer.from(bytes).toString("latin1"), /"zone":"b"/);
});

test("of two words on one agent the later epoch wins, then the later revision; never both, and alike neither", () => {
  const age = fc.record({ epoch: fc.nat(3), revision: fc.nat(3) });
  fc.assert(
    fc.property(age, age, (a, b) => {
      assert.equal(isNewer(a, b), a.epoch > b.epoch || (a.epoch === b.epoch && a.revision > b.revision));
      assert.ok(!(isNewer(a, b) && isNewer(b, a)));
    }),
  );
});

test("a removal voids what its agent or its key had up to then, and nothing of others or of later", () => {
  const removals = [{ agentId: "a", memberId: "11".repeat(8), epoch: 5 }];
  const named = (delta: object) => ({ agentId: "a", memberId: "11".repeat(8), epoch: 5, ...delta });
  const rows: [object, number, boolean][] = [
    [{}, 0, true],
    [{ epoch: 4 }, 0, true],
    [{ epoch: 6 }, 0, false],
    [{ memberId: "22".repeat(8) }, 0, true],
    [{ agentId: "b" }, 0, true],
    [{ agentId: "b", memberId: "22".repeat(8) }, 0, false],
    [{ agentId: "b", memberId: "22".repeat(8) }, 6, true],
    [{ epoch: 6 }, 6, false],
  ];
  for (const [delta, floor, expected] of rows)
    assert.equal(isRefused(named(delta), { floor, removals }), expected, JSON.stringify([delta, floor]));
});

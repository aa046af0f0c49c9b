/**
 * What this program writes on the wire and signs, for inputs that never change: the bytes that a recording keeps, and that
 * recorded.test.ts asks of every later program. Keys are made of one byte each, and guard nothing.
 */
import { encodePacket } from "../../src/core/gossip/codec.ts";
import type { Head, Item, Message, MessageType, Testimony } from "../../src/core/gossip/messages.ts";
import { signerOf } from "../../src/io/crypto/keys.ts";
import { clusterKey, KeyRing } from "../../src/io/gossip/key-ring.ts";
import { Sealer } from "../../src/io/gossip/seal.ts";
import { cidr, ip } from "../../src/model/ip.ts";
import { NONCE_BYTES } from "../../src/model/limits.ts";
import { mac } from "../../src/model/mac.ts";
import type { PolicyMember } from "../../src/model/policy.ts";
import { encodeMembers } from "../../src/model/policy-members.ts";
import { issueAssignmentStatement } from "../../src/model/trust/assignment-statement.ts";
import { toText } from "../../src/model/trust/bytes.ts";
import { formatProof } from "../../src/model/trust/call-proof.ts";
import { issueCredential } from "../../src/model/trust/credential.ts";
import type { Signer } from "../../src/model/trust/member.ts";
import { issueEpochFloor, issueRemoval } from "../../src/model/trust/removal.ts";

/** PKCS#8 of an Ed25519 key, up to its 32 bytes (RFC 8410 §7). */
const PKCS8 = Buffer.from("302e020100300506032b657004220420", "hex");

function signerOfByte(byte: number): Signer {
  const base64 = Buffer.concat([PKCS8, Buffer.alloc(32, byte)]).toString("base64");
  const signer = signerOf(`-----BEGIN PRIVATE KEY-----\n${base64}\n-----END PRIVATE KEY-----\n`);
  if (signer === undefined) throw new Error("this is no key");
  return signer;
}

export const CLUSTER = signerOfByte(7);
const AGENT = signerOfByte(8);

export const CREDENTIAL = {
  role: "agent",
  publicKey: AGENT.publicKey,
  agentId: "0688065a-6d6a-48e6-92e9-e91949d33271",
  epoch: 3,
} as const;
export const STATEMENT = {
  peer: {
    id: CREDENTIAL.agentId,
    ip: ip("10.0.0.11"),
    vtepIp: ip("44.128.0.1"),
    vtepIp6: ip("fd01:a::1"),
    vtepMac: mac("70:b3:d5:80:00:01"),
    subnets: [cidr("9.0.1.0/24"), cidr("fd01:c::/80")],
  },
  hostname: "host1",
  publicKey: AGENT.publicKey,
  epoch: 3,
  revision: 2,
};
export const REMOVAL = { agentId: "host-gone", memberId: "00112233445566aa", epoch: 2 };
export const FLOOR = 2;

/** What an agent tells of its labelled containers, as the record `members` has it. */
export const MEMBERS: readonly PolicyMember[] = [
  { network: "dcos", labels: { app: "web" }, addresses: [ip("9.0.1.2"), ip("fd01:c::2")] },
  { network: "web", labels: { tier: "1", app: "" }, addresses: [ip("9.0.1.3")] },
];

/** The cluster's signed words, and an agent's own, base64url. */
export function writtenWords(): Readonly<Record<string, string>> {
  return {
    credential: toText(issueCredential(CREDENTIAL, CLUSTER)),
    statement: toText(issueAssignmentStatement(STATEMENT, CLUSTER)),
    removal: toText(issueRemoval(REMOVAL, CLUSTER)),
    epochFloor: toText(issueEpochFloor(FLOOR, CLUSTER)),
    members: toText(encodeMembers(MEMBERS) ?? new Uint8Array()),
  };
}

export const PROOF = {
  nonce: new Uint8Array(NONCE_BYTES).fill(1),
  publicKey: AGENT.publicKey,
  ephemeral: new Uint8Array(32).fill(2),
  tokenId: "abcd2345",
  signature: new Uint8Array(64).fill(3),
  mac: new Uint8Array(32).fill(4),
};

/** The header that proves a call. */
export function writtenProof(): string {
  return formatProof(PROOF);
}

const [A, B, C] = ["a0a1a2a3a4a5a6a7", "b0b1b2b3b4b5b6b7", "c0c1c2c3c4c5c6c7"] as const;
export const SENDER = A;
const GEN = 7 * 2 ** 20 + 5;
const SIGNATURE = new Uint8Array(64).fill(0x51);
const HEAD: Head = {
  id: B,
  gen: GEN,
  inc: 2,
  hasLeft: false,
  address: "[fd00::11]:62501",
  credential: Uint8Array.of(1, 2, 3),
  signature: SIGNATURE,
};
const LEFT: Head = { ...HEAD, inc: 3, hasLeft: true, address: "10.0.0.11:62501" };
const TESTIMONY: Testimony = { target: B, gen: GEN, inc: 2, witness: C, signature: SIGNATURE };
const MEMBER_ITEM: Item = { kind: "member", id: B, gen: GEN, version: 9 };
const RECORDS_ITEM: Item = { kind: "records", id: C, gen: GEN, version: 12 };
const ENTRY = { key: "assignment", seq: 4, value: Uint8Array.of(9, 8), floor: 1, stateHigh: 5, stateLow: 2 ** 32 - 1 };
const GONE = { ...ENTRY, key: "members", seq: 5, value: undefined };

/** Two of a type where it has fields that may be absent. */
export const GOSSIP: { readonly [T in MessageType]: readonly Extract<Message, { type: T }>[] } = {
  ping: [
    { type: "ping", seq: 1, isLink: true },
    { type: "ping", seq: 2 ** 32 - 1, isLink: false, dead: { gen: GEN, inc: 2 }, about: C },
  ],
  ack: [{ type: "ack", seq: 2, isLink: false, hasHeard: true }],
  "ping-request": [{ type: "ping-request", seq: 3, target: B, belief: { gen: GEN, inc: 2, status: 3 } }],
  "relayed-ack": [{ type: "relayed-ack", seq: 4, target: B, hasHeard: true }],
  testimony: [{ type: "testimony", seq: 5, testimony: TESTIMONY }],
  neighbor: [{ type: "neighbor", isUrgent: true }],
  "neighbor-accept": [{ type: "neighbor-accept" }],
  "neighbor-deny": [{ type: "neighbor-deny" }],
  disconnect: [{ type: "disconnect" }],
  "sync-root": [{ type: "sync-root", high: 2 ** 31, low: 6 }],
  join: [{ type: "join", head: HEAD }],
  "join-reply": [
    { type: "join-reply", head: HEAD },
    { type: "join-reply", head: HEAD, known: LEFT },
  ],
  member: [{ type: "member", head: LEFT, isAsked: true }],
  death: [
    {
      type: "death",
      isAsked: false,
      death: { id: B, gen: GEN, inc: 2, accuser: A, signature: SIGNATURE, testimonies: [TESTIMONY] },
    },
  ],
  delta: [
    {
      type: "delta",
      isAsked: true,
      delta: {
        owner: B,
        gen: GEN,
        from: 3,
        to: 5,
        last: 5,
        entries: [
          { ...ENTRY, signature: SIGNATURE },
          { ...GONE, signature: SIGNATURE },
        ],
      },
    },
  ],
  ihave: [{ type: "ihave", items: [MEMBER_ITEM, RECORDS_ITEM] }],
  pull: [{ type: "pull", isGraft: true, item: RECORDS_ITEM }],
  prune: [{ type: "prune" }],
  doubts: [{ type: "doubts", items: [MEMBER_ITEM] }],
  "sync-buckets": [{ type: "sync-buckets", buckets: Uint32Array.from({ length: 256 }, (_, n) => n * 2 ** 20) }],
  "sync-rows": [
    {
      type: "sync-rows",
      bucket: 200,
      after: "",
      upTo: C,
      rows: [{ id: B, gen: GEN, inc: 2, status: 2, dataGen: GEN, seq: 12 }],
    },
  ],
};

/** A packet for each type of gossip message, in hexadecimal digits. */
export function writtenGossip(): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(GOSSIP).map(([type, messages]) => [
      type,
      Buffer.from(encodePacket(SENDER, messages)).toString("hex"),
    ]),
  );
}

export const FROM = { ip: ip("10.0.0.11"), port: 62_501 };
export const TO = { ip: ip("10.0.0.12"), port: 62_501 };

/** The gossip's key that datagrams here are sealed with. */
export function keyRing(): KeyRing {
  return new KeyRing({ current: clusterKey(7, new Uint8Array(32).fill(9)), accepted: [] });
}

/** A sealed datagram with the text `gossip` in it. */
export function writtenDatagram(): string {
  const newSession = () => Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
  return new Sealer(keyRing(), FROM, { newSession }).seal(TO, Buffer.from("gossip")).toString("hex");
}

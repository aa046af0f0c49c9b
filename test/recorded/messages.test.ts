/**
 * Layouts are frozen (docs/decisions/0036): what every recorded version said is understood without loss, and what this
 * program says is what every recorded version understands.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { z } from "zod";
import { decodePacket, encodePacket, PACKET_HEADER_BYTES } from "../../src/core/gossip/codec.ts";
import { verifySignature } from "../../src/io/crypto/keys.ts";
import { Opener } from "../../src/io/gossip/open.ts";
import {
  admissionJson,
  admissionSchema,
  challengeSchema,
  registerRequestSchema,
  sealedAnswerSchema,
  statusReportSchema,
} from "../../src/io/messages.ts";
import type { RegisterRequest } from "../../src/io/ports.ts";
import { decodeMembers } from "../../src/model/policy-members.ts";
import { reportAnswerSchema } from "../../src/model/schemas.ts";
import { verifyAssignmentStatement } from "../../src/model/trust/assignment-statement.ts";
import { fromText } from "../../src/model/trust/bytes.ts";
import { parseProof } from "../../src/model/trust/call-proof.ts";
import { verifyCredential } from "../../src/model/trust/credential.ts";
import { membershipJson } from "../../src/model/trust/membership.ts";
import { verifyEpochFloor, verifyRemoval } from "../../src/model/trust/removal.ts";
import { MasterRig } from "../support/master-rig.ts";
import {
  CLUSTER,
  CREDENTIAL,
  FLOOR,
  FROM,
  GOSSIP,
  keyRing,
  MEMBERS,
  PROOF,
  REMOVAL,
  SENDER,
  STATEMENT,
  TO,
  writtenDatagram,
  writtenGossip,
  writtenProof,
  writtenWords,
} from "./written.ts";

interface Recorded {
  readonly http: {
    readonly registerRequest: RegisterRequest;
    readonly admission: { readonly assignment: unknown; readonly membership: unknown; readonly announcement?: string };
    readonly statusReport: object;
    /** The body's text. */
    readonly statusAnswer: string;
    readonly challenge: unknown;
    readonly proof: string;
  };
  /** JSON Schema: what that version asks of what it is sent; unknown fields are none of its business. */
  readonly shapes: Readonly<Record<keyof typeof SCHEMAS, unknown>>;
  readonly words: Readonly<Record<string, string>>;
  readonly gossip: Readonly<Record<string, string>>;
  readonly datagram: string;
}

const SCHEMAS = {
  registerRequest: registerRequestSchema,
  admission: admissionSchema,
  statusReport: statusReportSchema,
  statusAnswer: reportAnswerSchema,
  challenge: challengeSchema,
  sealedAnswer: sealedAnswerSchema,
};

const VERSIONS = readdirSync(import.meta.dirname, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name);

function recordedOf(version: string): Recorded {
  return JSON.parse(readFileSync(join(import.meta.dirname, version, "messages.json"), "utf8")) as Recorded;
}

/** Whether that version takes it. */
function assertTaken({ shapes }: Recorded, name: keyof typeof SCHEMAS, value: unknown): void {
  const schema = z.fromJSONSchema(shapes[name] as Parameters<typeof z.fromJSONSchema>[0]);
  const { success, error } = schema.safeParse(value);
  assert.ok(success, `${name}: ${error?.message}`);
}

function bytes(text: string | undefined): Uint8Array {
  const found = fromText(text ?? "");
  assert.ok(found !== undefined && found.length > 0);
  return found;
}

for (const version of VERSIONS)
  describe(`what ${version} said`, () => {
    const recorded = recordedOf(version);
    const { http, words, gossip, datagram } = recorded;

    it("over HTTP is read without loss", () => {
      for (const name of ["registerRequest", "statusReport", "challenge"] as const)
        assert.deepEqual(SCHEMAS[name].parse(http[name]), http[name], name);
      const admission = admissionSchema.parse(http.admission);
      assert.deepEqual({ ...admission, membership: membershipJson(admission.membership) }, http.admission);
      if (http.statusAnswer !== "") reportAnswerSchema.parse(JSON.parse(http.statusAnswer));
      assert.deepEqual(parseProof(http.proof), PROOF);
    });

    it("and signed for the cluster is believed, with the same values", () => {
      const { publicKey } = CLUSTER;
      assert.deepEqual(verifyCredential(bytes(words.credential), publicKey, verifySignature), CREDENTIAL);
      assert.deepEqual(verifyAssignmentStatement(bytes(words.statement), publicKey, verifySignature), STATEMENT);
      assert.deepEqual(verifyRemoval(bytes(words.removal), publicKey, verifySignature), REMOVAL);
      assert.equal(verifyEpochFloor(bytes(words.epochFloor), publicKey, verifySignature), FLOOR);
      if (words.members !== undefined)
        assert.deepEqual(decodeMembers(bytes(words.members), STATEMENT.peer.subnets), MEMBERS);
    });

    it("in gossip is understood, each type of message", () => {
      for (const [type, hex] of Object.entries(gossip))
        assert.deepEqual(
          decodePacket(new Uint8Array(Buffer.from(hex, "hex"))),
          { sender: SENDER, messages: GOSSIP[type as keyof typeof GOSSIP], malformed: 0 },
          type,
        );
      const opened = new Opener(keyRing(), TO).open(Buffer.from(datagram, "hex"), FROM);
      assert.equal(String(opened), "gossip");
    });

    it("is what this program says: the same bytes", () => {
      for (const [name, text] of Object.entries(words)) assert.equal(writtenWords()[name], text, name);
      assert.equal(writtenProof(), http.proof);
      // Types of messages that came later are skipped by whoever does not know them.
      for (const [type, hex] of Object.entries(gossip)) assert.equal(writtenGossip()[type], hex, type);
      assert.equal(writtenDatagram(), datagram);
    });

    it("gets answers that it understands", async () => {
      const rig = new MasterRig();
      const admission = await rig.admission(http.registerRequest);
      assertTaken(recorded, "admission", JSON.parse(admissionJson(admission)));
      const sealed = await rig.tryRegister(http.registerRequest, {
        ...rig.proverOf(http.registerRequest),
        ephemeral: new Uint8Array(32).fill(9),
      });
      assertTaken(recorded, "sealedAnswer", await sealed.json());
      assertTaken(recorded, "challenge", await (await rig.call("POST", "/v1/challenge")).json());
      const { agentId } = http.registerRequest;
      const answer = await rig.callAs(agentId, "POST", `/v1/agents/${agentId}/status`, http.statusReport);
      assert.equal(answer.status, 200);
      assertTaken(recorded, "statusAnswer", await answer.json());
    });

    it("takes what the newest version says in full", () => {
      for (const other of VERSIONS.map(recordedOf)) {
        assertTaken(recorded, "registerRequest", other.http.registerRequest);
        assertTaken(recorded, "statusReport", other.http.statusReport);
        assertTaken(recorded, "admission", other.http.admission);
      }
    });
  });

it("every type of gossip message is recorded in the newest version", () => {
  const newest = recordedOf("0.2.0");
  assert.deepEqual(Object.keys(newest.gossip).sort(), Object.keys(GOSSIP).sort());
});

it("what a later version adds is passed over", () => {
  const [ack, ping] = [GOSSIP.ack[0], GOSSIP.ping[0]].map((message) => encodePacket(SENDER, message ? [message] : []));
  assert.ok(ack !== undefined && ping !== undefined);
  const head = ack.subarray(0, PACKET_HEADER_BYTES);
  const [known, next] = [ack.subarray(PACKET_HEADER_BYTES), ping.subarray(PACKET_HEADER_BYTES)];
  // Type and length, then two bytes behind the fields; and a message of a type that nobody has yet.
  const longer = Buffer.from([known[0] ?? 0, 0, known.length - 3 + 2, ...known.subarray(3), 0xff, 0xff]);
  const unknown = Buffer.from([200, 0, 3, 1, 2, 3]);
  assert.deepEqual(decodePacket(new Uint8Array(Buffer.concat([head, longer, unknown, next]))), {
    sender: SENDER,
    messages: [GOSSIP.ack[0], GOSSIP.ping[0]],
    malformed: 0,
  });
  for (const name of ["registerRequest", "statusReport", "admission"] as const) {
    const said = recordedOf("0.2.0").http[name];
    assert.deepEqual(SCHEMAS[name].parse({ ...said, later: { still: [1] } }), SCHEMAS[name].parse(said), name);
  }
});

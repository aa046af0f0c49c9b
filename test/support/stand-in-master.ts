/**
 * The master's end of proven calls for tests of an agent's: gives real challenges, knows one join token, and seals what
 * the test wants the agent to be assigned. Everything else of a master is the test's own.
 */
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import { Callers } from "../../src/app/master/callers.ts";
import { newToken, Tokens } from "../../src/app/master/tokens.ts";
import { SYSTEM_CLOCK } from "../../src/io/clock.ts";
import { admissionJson } from "../../src/io/messages.ts";
import { openMemoryMasterDisk } from "../../src/io/store/memory-store.ts";
import type { Assignment } from "../../src/model/cluster.ts";
import { toText } from "../../src/model/trust/bytes.ts";
import { PROOF_HEADER } from "../../src/model/trust/call-proof.ts";
import type { Signer } from "../../src/model/trust/member.ts";
import { openControl } from "./control.ts";
import { membershipFor, newSigner, TestAgent } from "./trust.ts";

export class StandInMaster {
  readonly cluster: Signer;
  readonly token = newToken("join");
  /** An agent that has the token, and is no member yet. */
  readonly agent = new TestAgent(this.token);
  readonly #callers: Callers;

  constructor(cluster: Signer = newSigner()) {
    this.cluster = cluster;
    const tokens = new Tokens([], { records: openControl(openMemoryMasterDisk()).records, clock: SYSTEM_CLOCK });
    const record = tokens.recordOf(this.token, { kind: "join", note: "" }, 0);
    this.#callers = new Callers(SYSTEM_CLOCK, (id) => (id === record.id ? record : undefined));
  }

  /** Gives challenges; all other requests go to the test. */
  listener(others: RequestListener): RequestListener {
    return (request, response) => {
      if (request.url !== "/v1/challenge") return others(request, response);
      const { nonce, ephemeral } = this.#callers.challenge();
      response.end(JSON.stringify({ nonce: toText(nonce), ephemeral: toText(ephemeral) }));
    };
  }

  /**
   * Lets the caller in with this assignment, whoever it is, if its proof holds.
   * @param words whose signature credential and statement carry
   */
  admit(
    assignment: Assignment,
    words = this.cluster,
  ): (request: IncomingMessage, response: ServerResponse) => Promise<void> {
    return async (request, response) => {
      const body = Buffer.concat(await request.toArray());
      response.end(this.answerTo(request, body, assignment, words));
    };
  }

  /** The body of an answer that lets the caller in. */
  answerTo(request: IncomingMessage, body: Uint8Array, assignment: Assignment, words = this.cluster): string {
    const call = { method: request.method ?? "", path: request.url ?? "", body };
    const header = request.headers[PROOF_HEADER];
    const caller = this.#callers.identify(call, typeof header === "string" ? header : undefined, "network");
    const signer: Signer = { publicKey: caller.publicKey ?? new Uint8Array(), sign: () => new Uint8Array() };
    const membership = { ...membershipFor(assignment, signer, words), clusterKey: this.cluster.publicKey };
    const { signature, sealed } = caller.sealAnswer(
      Buffer.from(admissionJson({ assignment, membership })),
      this.cluster,
    );
    const clusterKey = toText(this.cluster.publicKey);
    return JSON.stringify({ clusterKey, signature: toText(signature), sealed: toText(sealed) });
  }
}

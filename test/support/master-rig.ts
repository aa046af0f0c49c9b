/**
 * A master in this process, on a disk in memory and a clock that tests move: requests go to its application without a
 * socket. `restart` is what a killed process and a new one are: only the disk survives. Each agent that a test names has a
 * key of its own, and joins by the token of the master's first start.
 */
import assert from "node:assert/strict";
import { createMasterApp } from "../../src/app/master/app.ts";
import { Book } from "../../src/app/master/book.ts";
import { Cluster } from "../../src/app/master/cluster.ts";
import { ClusterTrust } from "../../src/app/master/cluster-trust.ts";
import { ControlRecords } from "../../src/app/master/control-records.ts";
import { loadEffective } from "../../src/app/master/effective.ts";
import { MasterMetrics } from "../../src/app/master/metrics.ts";
import type { Presence } from "../../src/app/master/presence.ts";
import { parseClusterConfig } from "../../src/core/config/cluster-config.ts";
import { openAdmission } from "../../src/io/admission-answer.ts";
import { type Prover, proveCall } from "../../src/io/crypto/call-keys.ts";
import { newAgreement } from "../../src/io/crypto/keys.ts";
import { SILENT_LOG } from "../../src/io/log.ts";
import type { Proven } from "../../src/io/master-exchange.ts";
import type { ChallengeMessage } from "../../src/io/messages.ts";
import type { Admission, MasterDisk, RegisterRequest } from "../../src/io/ports.ts";
import { SimClock } from "../../src/io/sim-clock.ts";
import { MemoryDisk, openMemoryMasterDisk } from "../../src/io/store/memory-store.ts";
import type { Assignment } from "../../src/model/cluster.ts";
import { ip } from "../../src/model/ip.ts";
import { fromText } from "../../src/model/trust/bytes.ts";
import { formatProof, PROOF_HEADER } from "../../src/model/trust/call-proof.ts";
import type { Signer } from "../../src/model/trust/member.ts";
import type { Age } from "../../src/model/trust/standing.ts";
import type { Token } from "../../src/model/trust/token.ts";
import { openControl } from "./control.ts";
import { newSigner, testSecrets } from "./trust.ts";

export function request(n: number, delta: Partial<RegisterRequest> = {}): RegisterRequest {
  return {
    agentId: `agent-${n}`,
    instanceId: `instance-${n}`,
    ip: ip(`10.0.${n >> 8}.${n & 255}`),
    hostname: `host-${n}`,
    networkConfig: { allocateSubnet: true, mesosBridge: true, dockerBridge: true },
    ...delta,
  };
}

export class MasterRig {
  readonly disk = new MemoryDisk();
  readonly clock = new SimClock();
  readonly bugs: unknown[] = [];
  cluster: Cluster;
  refused: readonly string[] = [];
  readonly secrets = testSecrets();
  /** How often all agents were called to register. */
  announcements = 0;
  readonly #living = new Map<string, string>();
  /** Of what the cluster signed for an agent, the newest that gossip tells of. */
  readonly newest = new Map<string, Age>();
  /** … and of what agents host. */
  newestClaim = 0;
  readonly #signers = new Map<string, Signer>();
  #open: MasterDisk;
  #metrics = new MasterMetrics();

  constructor(yaml = "") {
    this.#open = openMemoryMasterDisk(this.disk);
    this.cluster = this.#load(yaml);
  }

  /** The store as one that was written before there were members. */
  forgetMembers(): void {
    const { write } = openControl(this.#open, this.secrets.storeKey);
    write((records) => {
      for (const { agentId } of records.trust().members) records.deleteMember(agentId);
    });
    this.restart();
  }

  restart(yaml = ""): void {
    this.cluster.close();
    this.#open.close();
    this.#open = openMemoryMasterDisk(this.disk);
    this.cluster = this.#load(yaml);
  }

  /** A call as it comes from the network, or by the Unix socket. */
  call(method: string, path: string, body?: unknown, local = false, headers = {}): Promise<Response> {
    const app = createMasterApp({
      cluster: this.cluster,
      clock: this.clock,
      metrics: this.#metrics,
      version: "0.0.0",
      warnings: [],
      local,
      onBug: (thrown) => this.bugs.push(thrown),
    });
    return Promise.resolve(
      app.request(path, {
        method,
        ...(body !== undefined && { body: textOf(body) }),
        headers: { ...headers, ...(body !== undefined && { "content-type": "application/json" }) },
      }),
    );
  }

  /** The key of an agent, which it keeps. */
  signerOf(agentId: string): Signer {
    const signer = this.#signers.get(agentId) ?? newSigner();
    this.#signers.set(agentId, signer);
    return signer;
  }

  /** Asks for a challenge and proves the call with it. */
  async proven(method: string, path: string, body: unknown, prover: Prover): Promise<Proven> {
    const message = (await (await this.call("POST", "/v1/challenge")).json()) as ChallengeMessage;
    const challenge = { nonce: bytes(message.nonce), ephemeral: bytes(message.ephemeral) };
    const call = { method, path, body: Buffer.from(body === undefined ? "" : textOf(body)) };
    const proof = proveCall(call, challenge, prover);
    return { call, challenge, proof, headers: { [PROOF_HEADER]: formatProof(proof) } };
  }

  /** A call that the agent signs. */
  async callAs(agentId: string, method: string, path: string, body?: unknown): Promise<Response> {
    const { headers } = await this.proven(method, path, body, { signer: this.signerOf(agentId) });
    return this.call(method, path, body, false, headers);
  }

  /** A registration with key and token, whatever comes of it. */
  async tryRegister(body: unknown, prover: Prover = this.proverOf(body)): Promise<Response> {
    return (await this.#exchange(body, prover)).answer;
  }

  /** With what the agent that the request names proves it. */
  proverOf(body: unknown, token: Token | undefined = this.secrets.token): Prover {
    const { agentId = "nobody" } = (typeof body === "object" ? body : {}) as Partial<RegisterRequest>;
    return { signer: this.signerOf(agentId), ...(token && { token }) };
  }

  async json(path: string): Promise<unknown> {
    return (await this.call("GET", path)).json();
  }

  /** Registers and expects to be let in. */
  async register(body: RegisterRequest): Promise<Assignment> {
    return (await this.admission(body)).assignment;
  }

  /** As `register`, with all that the answer holds. */
  async admission(body: RegisterRequest, prover: Prover = this.proverOf(body)): Promise<Admission> {
    const { answer, proven, agreement } = await this.#exchange(body, prover);
    assert.equal(answer.status, 200, await answer.clone().text());
    const expected = { agentId: body.agentId, agreement, token: prover.token, clusterKey: undefined };
    return openAdmission(await answer.json(), proven, expected);
  }

  /** Gossip tells that this process of the agent lives. @returns ends that */
  connect({ agentId, instanceId }: RegisterRequest): () => void {
    this.#living.set(agentId, instanceId);
    this.cluster.presenceChanged(agentId);
    return () => {
      this.#living.delete(agentId);
      this.cluster.presenceChanged(agentId);
    };
  }

  async #exchange(body: unknown, prover: Prover) {
    const agreement = newAgreement();
    const path = "/v1/agents/register";
    const proven = await this.proven("POST", path, body, { ...prover, ephemeral: agreement.publicKey });
    return { answer: await this.call("POST", path, body, false, proven.headers), proven, agreement };
  }

  #load(yaml: string): Cluster {
    const term = this.#open.control.leadNow();
    const book = new Book(term.loadNow(), term, this.clock);
    const records = new ControlRecords(book, this.secrets.storeKey);
    const effective = loadEffective(parseClusterConfig(yaml), records);
    this.refused = effective.settings.refused;
    const deps = { book, records, clock: this.clock, log: SILENT_LOG };
    const trust = new ClusterTrust({ ...deps, secrets: this.secrets });
    const presence: Presence = {
      instanceOf: (agentId) => this.#living.get(agentId),
      announcement: "",
      newestOf: (agentId) => this.newest.get(agentId),
      newestClaim: () => this.newestClaim,
      announce: () => {
        this.announcements += 1;
      },
    };
    return new Cluster(
      effective,
      { records: records.agents(), resting: records.resting() },
      { ...deps, metrics: this.#metrics, trust, presence, version: "0.1.0" },
    );
  }
}

function textOf(body: unknown): string {
  return typeof body === "string" ? body : JSON.stringify(body);
}

function bytes(text: string): Uint8Array {
  const found = fromText(text);
  assert.ok(found !== undefined);
  return found;
}

/**
 * A master in this process, on a disk in memory and a clock that tests move: requests go to its application without a
 * socket. `restart` is what a killed process and a new one are: only the disk survives.
 */
import assert from "node:assert/strict";
import { createMasterApp } from "../../src/app/master/app.ts";
import { Cluster } from "../../src/app/master/cluster.ts";
import { MasterMetrics } from "../../src/app/master/metrics.ts";
import { loadState } from "../../src/app/master/start.ts";
import { parseClusterConfig } from "../../src/core/config/cluster-config.ts";
import { SILENT_LOG } from "../../src/io/log.ts";
import { peerUpdateSchema } from "../../src/io/messages.ts";
import type { MasterStore, PeerUpdate, RegisterRequest } from "../../src/io/ports.ts";
import { SimClock } from "../../src/io/sim-clock.ts";
import { MemoryDisk, openMemoryMasterStore } from "../../src/io/store/memory-store.ts";
import type { Assignment } from "../../src/model/cluster.ts";
import { ip } from "../../src/model/ip.ts";

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
  #store: MasterStore;
  #metrics = new MasterMetrics();

  constructor(yaml = "") {
    this.#store = openMemoryMasterStore(this.disk);
    this.cluster = this.#load(yaml);
  }

  restart(yaml = ""): void {
    this.cluster.close();
    this.#store.close();
    this.#store = openMemoryMasterStore(this.disk);
    this.cluster = this.#load(yaml);
  }

  /** A call as it comes from the network, or by the Unix socket. */
  call(method: string, path: string, body?: unknown, local = false): Promise<Response> {
    const app = createMasterApp({
      cluster: this.cluster,
      metrics: this.#metrics,
      version: "0.0.0",
      refusedChanges: this.refused,
      warnings: [],
      local,
      onBug: (thrown) => this.bugs.push(thrown),
    });
    const text = typeof body === "string" ? body : JSON.stringify(body);
    return Promise.resolve(
      app.request(path, {
        method,
        ...(body !== undefined && { body: text, headers: { "content-type": "application/json" } }),
      }),
    );
  }

  async json(path: string): Promise<unknown> {
    return (await this.call("GET", path)).json();
  }

  /** Registers and expects to be let in. */
  async register(body: RegisterRequest): Promise<Assignment> {
    const answer = await this.call("POST", "/v1/agents/register", body);
    assert.equal(answer.status, 200, await answer.clone().text());
    return (await answer.json()) as Assignment;
  }

  async connect({ agentId, instanceId }: RegisterRequest): Promise<PeerReader> {
    const answer = await this.call("GET", `/v1/peers/stream?agent=${agentId}&instance=${instanceId}`);
    assert.equal(answer.status, 200);
    assert.ok(answer.body !== null);
    return new PeerReader(answer.body);
  }

  #load(yaml: string): Cluster {
    const { state, refused } = loadState(parseClusterConfig(yaml), this.#store);
    this.refused = refused;
    return new Cluster(state, { store: this.#store, clock: this.clock, log: SILENT_LOG, metrics: this.#metrics });
  }
}

/** The agent's end of a peer stream. */
export class PeerReader {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  #text = "";

  constructor(body: ReadableStream<Uint8Array>) {
    this.#reader = body.getReader();
  }

  /** The next line; `undefined` at the end of the stream. */
  async line(): Promise<string | undefined> {
    for (;;) {
      const end = this.#text.indexOf("\n");
      if (end >= 0) {
        const line = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 1);
        return line;
      }
      const { done, value } = await this.#reader.read();
      if (done) return undefined;
      this.#text += Buffer.from(value).toString();
    }
  }

  /** The next update, as an agent would decode it. */
  async next(): Promise<PeerUpdate> {
    const line = await this.line();
    assert.ok(line !== undefined, "the stream goes on");
    return peerUpdateSchema.parse(JSON.parse(line));
  }

  /** The ids of the snapshot that comes first. */
  async snapshot(): Promise<string[]> {
    const first = await this.next();
    assert.ok(first.type === "snapshot");
    return first.peers.map(({ id }) => id);
  }

  close(): Promise<void> {
    return this.#reader.cancel();
  }
}

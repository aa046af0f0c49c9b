import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import type { ServerResponse } from "node:http";
import { type TestContext, test } from "node:test";
import { nobody, standIn } from "../../test/support/http-stand-in.ts";
import type { Peer } from "../model/cluster.ts";
import { Fault } from "../model/fault.ts";
import { faultBody } from "../model/fault-table.ts";
import {
  PEER_STREAM_BACKOFF_FIRST_MS,
  PEER_STREAM_BACKOFF_MAX_MS,
  PEER_STREAM_HEARTBEAT_MS,
  PEER_STREAM_LINE_MAX_BYTES,
  PEER_STREAM_SILENCE_MAX_MS,
} from "../model/limits.ts";
import { peerSchema } from "../model/schemas.ts";
import type { Log } from "./log.ts";
import { parseMasterAddress } from "./master-call.ts";
import { openMasterPeerSource } from "./master-peer-source.ts";
import type { PeerSource, PeerUpdate } from "./ports.ts";
import { SimClock } from "./sim-clock.ts";

function peer(n: number): Peer {
  return peerSchema.parse({
    id: `a-${n}`,
    ip: `10.0.0.${n}`,
    vtepIp: `44.128.0.${n}`,
    vtepMac: "70:b3:d5:80:00:01",
    subnets: [`9.0.${n}.0/24`],
  });
}

const EMPTY: PeerUpdate = { type: "snapshot", peers: [] };

/** A master whose stream says what the test says, and an agent's source that reads it, on virtual time. */
class Rig {
  readonly clock = new SimClock();
  readonly events = new EventEmitter();
  readonly updates: PeerUpdate[] = [];
  readonly warnings: string[] = [];
  readonly requests: string[] = [];
  lost = 0;
  timersSet = 0;
  /** The answer to the latest request. */
  response: ServerResponse | undefined;
  refusal: Fault | undefined;
  master: string;
  readonly source: PeerSource;

  constructor(t: TestContext, master = "") {
    this.master = master;
    const warn = (fields: object, message: string) => {
      this.warnings.push(`${message}: ${(fields as { reason: string }).reason}`);
      this.events.emit("news");
    };
    const log: Log = { debug: () => {}, info: () => {}, warn, error: warn };
    this.source = openMasterPeerSource({
      client: {
        current: () => this.master,
        address: () => parseMasterAddress(this.master),
        prove: async () => ({ "weft-proof": "v1" }),
      },
      agentId: "a-0",
      instanceId: "i-0",
      clock: {
        now: () => this.clock.now(),
        date: () => this.clock.date(),
        after: (ms, call) => {
          this.timersSet += 1;
          this.events.emit("news");
          return this.clock.after(ms, call);
        },
      },
      // Every wait is as long as it may be.
      random: { fraction: () => 1 },
      log,
      onLost: () => {
        this.lost += 1;
        this.events.emit("news");
      },
    });
    t.after(() => this.source.stop());
  }

  static async open(t: TestContext): Promise<Rig> {
    const rig = new Rig(t);
    rig.master = await rig.serve(t);
    return rig;
  }

  serve(t: TestContext): Promise<string> {
    return standIn(t, (request, response) => {
      this.requests.push(`${request.method} ${request.url}`);
      if (this.refusal !== undefined) response.writeHead(404).end(JSON.stringify(faultBody(this.refusal)));
      else response.writeHead(200, { "content-type": "application/x-ndjson" }).flushHeaders();
      this.response = response;
      this.events.emit("news");
    });
  }

  start(): void {
    this.source.start((update) => {
      this.updates.push(update);
      this.events.emit("news");
    });
  }

  async until(what: string, holds: () => boolean): Promise<void> {
    const signal = AbortSignal.timeout(10_000);
    while (!holds())
      await once(this.events, "news", { signal }).catch(() => assert.fail(`${what}: ${JSON.stringify(this.warnings)}`));
  }

  /** Started, and the snapshot has come. */
  async connect(): Promise<void> {
    this.start();
    await this.receive(EMPTY);
  }

  async requested(count: number): Promise<void> {
    await this.until(`request ${count}`, () => this.requests.length === count);
  }

  send(...lines: (object | string)[]): void {
    for (const line of lines) this.response?.write(`${typeof line === "string" ? line : JSON.stringify(line)}\n`);
  }

  /** Sends the update to the latest request, waits until it has come, and checks that it came unchanged. */
  async receive(update: PeerUpdate): Promise<void> {
    const count = this.updates.length;
    await this.until("a request", () => this.response !== undefined);
    this.send(update);
    await this.until("an update", () => this.updates.length > count);
    assert.deepEqual(this.updates.at(-1), update);
  }

  async loses(count: number): Promise<void> {
    await this.until(`loss ${count}`, () => this.lost === count);
  }
}

test("nothing is opened before start, then the stream of this agent's instance", async (t) => {
  const rig = await Rig.open(t);
  assert.equal(rig.clock.pending, 0);
  await rig.connect();
  assert.deepEqual(rig.requests, ["GET /v1/peers/stream?agent=a-0&instance=i-0"]);
});

test("updates come in their order, in whatever pieces; blank lines are none", async (t) => {
  const rig = await Rig.open(t);
  const updates: PeerUpdate[] = [
    { type: "snapshot", peers: [peer(1), peer(2)] },
    { type: "peer", peer: peer(3) },
    { type: "gone", id: "a-1" },
    { type: "reassigned" },
  ];
  rig.start();
  await rig.requested(1);
  rig.send("");
  for (const character of updates.map((update) => `${JSON.stringify(update)}\n\n`).join(""))
    rig.response?.write(character);
  await rig.until("all updates", () => rig.updates.length === 4);
  assert.deepEqual([rig.updates, rig.warnings], [updates, []]);
});

test("a bad peer and a bad line are skipped, logged once, and hide no other", async (t) => {
  const rig = await Rig.open(t);
  const bad = { ...peer(2), vtepMac: "no MAC" };
  rig.start();
  await rig.requested(1);
  rig.send({ type: "snapshot", peers: [peer(1), bad, null, peer(3)] });
  for (let n = 0; n < 2; n += 1)
    rig.send("{", "null", { type: "peer", peer: bad }, { type: "news" }, { type: "peer", peer: peer(4) });
  await rig.until("the last", () => rig.updates.length === 3);
  const fourth: PeerUpdate = { type: "peer", peer: peer(4) };
  assert.deepEqual(rig.updates, [{ type: "snapshot", peers: [peer(1), peer(3)] }, fourth, fourth]);
  const skipped = "part of the peer stream skipped";
  assert.equal(rig.lost, 0);
  assert.equal(new Set(rig.warnings).size, rig.warnings.length);
  assert.equal(rig.warnings.filter((text) => text.includes("peer a-2: vtepMac: is not a MAC address")).length, 1);
  assert.equal(rig.warnings.filter((text) => text === `${skipped}: a line is no JSON`).length, 1);
});

test("an update keeps the stream; silence ends it, once, and it is opened again", async (t) => {
  const rig = await Rig.open(t);
  await rig.connect();
  rig.clock.advance(PEER_STREAM_SILENCE_MAX_MS - 1);
  await rig.receive({ type: "gone", id: "a-1" });
  rig.clock.advance(PEER_STREAM_SILENCE_MAX_MS - 1);
  assert.equal(rig.lost, 0);
  rig.clock.advance(1);
  assert.equal(rig.lost, 1);
  assert.match(rig.warnings.join(), /the master sent nothing for 15 s$/);
  rig.response = undefined;
  rig.clock.advance(PEER_STREAM_BACKOFF_FIRST_MS);
  await rig.receive({ type: "snapshot", peers: [peer(1)] });
  assert.deepEqual([rig.lost, rig.requests.length], [1, 2]);
});

test("a blank line alone is a sign of life", async (t) => {
  const rig = await Rig.open(t);
  await rig.connect();
  rig.clock.advance(PEER_STREAM_SILENCE_MAX_MS - 1);
  const { timersSet } = rig;
  rig.send("");
  await rig.until("a new deadline", () => rig.timersSet > timersSet);
  rig.clock.advance(PEER_STREAM_SILENCE_MAX_MS - 1);
  assert.equal(rig.lost, 0);
  rig.clock.advance(1);
  assert.equal(rig.lost, 1);
});

test("a master that accepts and never answers is left as well", async (t) => {
  const rig = new Rig(t);
  rig.master = await standIn(t, () => {
    rig.requests.push("heard");
    rig.events.emit("news");
  });
  rig.start();
  await rig.requested(1);
  rig.clock.advance(PEER_STREAM_SILENCE_MAX_MS);
  assert.equal(rig.lost, 1);
});

test("a stream that ends or breaks off is opened again; what lasted begins with a short wait", async (t) => {
  const rig = await Rig.open(t);
  await rig.connect();
  for (const [n, end] of [() => rig.response?.end(), () => rig.response?.destroy()].entries()) {
    rig.clock.advance(PEER_STREAM_HEARTBEAT_MS);
    end();
    await rig.loses(n + 1);
    rig.clock.advance(PEER_STREAM_BACKOFF_FIRST_MS - 1);
    assert.equal(rig.clock.pending, 1);
    rig.response = undefined;
    rig.clock.advance(1);
    await rig.receive(EMPTY);
  }
});

test("waits double up to their maximum while no stream lasts, and a row of failures is one warning", async (t) => {
  const rig = await Rig.open(t);
  rig.start();
  const waits = [1_000, 2_000, 4_000, 8_000, PEER_STREAM_BACKOFF_MAX_MS, PEER_STREAM_BACKOFF_MAX_MS];
  for (const [n, wait] of waits.entries()) {
    await rig.requested(n + 1);
    rig.response?.end();
    await rig.loses(n + 1);
    rig.clock.advance(wait - 1);
    assert.equal(rig.clock.pending, 1);
    rig.clock.advance(1);
  }
  assert.equal(rig.warnings.length, 1);
});

test("a line without end is cut off", { timeout: 30_000 }, async (t) => {
  const rig = await Rig.open(t);
  await rig.connect();
  const piece = Buffer.alloc(1 << 20, "x");
  for (let sent = 0; sent <= PEER_STREAM_LINE_MAX_BYTES; sent += piece.length) rig.response?.write(piece);
  await rig.loses(1);
  assert.match(rig.warnings.join(), /a line of more than 67108864 bytes/);
});

test("an update before the first snapshot ends the stream: it would mean nothing", async (t) => {
  const rig = await Rig.open(t);
  rig.start();
  await rig.requested(1);
  rig.send({ type: "peer", peer: peer(1) }, EMPTY);
  await rig.loses(1);
  assert.deepEqual(rig.updates, []);
});

test("a refusal is a loss, with the master's reason", async (t) => {
  const rig = await Rig.open(t);
  rig.refusal = new Fault("unknown-agent", "agent a-0 is not known here");
  rig.start();
  await rig.loses(1);
  assert.deepEqual(rig.warnings, ["peer stream lost; it is opened again: agent a-0 is not known here"]);
});

test("each stream is opened at the master that is current by then", async (t) => {
  const rig = new Rig(t, await nobody());
  rig.start();
  await rig.loses(1);
  assert.match(rig.warnings.join(), /nothing listens there$/);
  rig.master = await rig.serve(t);
  rig.clock.advance(PEER_STREAM_BACKOFF_FIRST_MS);
  await rig.receive(EMPTY);
});

test("stop ends the stream and every timer, and is no loss", async (t) => {
  const rig = await Rig.open(t);
  await rig.connect();
  const closed = once(rig.response as ServerResponse, "close");
  rig.source.stop();
  await closed;
  assert.deepEqual([rig.clock.pending, rig.lost], [0, 0]);
});

test("stop between two streams, or before an answer, leaves nothing behind", async (t) => {
  const rig = await Rig.open(t);
  await rig.connect();
  rig.response?.end();
  await rig.loses(1);
  rig.source.stop();
  assert.equal(rig.clock.pending, 0);
  rig.start();
  rig.source.stop();
  rig.clock.advance(PEER_STREAM_SILENCE_MAX_MS);
  assert.deepEqual([rig.clock.pending, rig.lost], [0, 1]);
});

test("stop within an update lets no further one through", async (t) => {
  const rig = await Rig.open(t);
  const seen: string[] = [];
  const ended = Promise.withResolvers<void>();
  rig.source.start(({ type }) => {
    seen.push(type);
    rig.source.stop();
  });
  await rig.requested(1);
  rig.response?.once("close", ended.resolve);
  rig.response?.write(`${JSON.stringify(EMPTY)}\n{"type":"reassigned"}\n`);
  await ended.promise;
  assert.deepEqual(seen, ["snapshot"]);
});

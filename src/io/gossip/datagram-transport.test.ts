import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ip } from "../../model/ip.ts";
import {
  DATAGRAM_MAX_BYTES,
  NEW_SESSION_BURST,
  RECEIVE_QUEUE_MAX,
  RECEIVE_STRETCH_MS,
  SENDER_BURST,
  STRANGER_QUEUE_MAX,
  STRANGERS_BURST,
  UDP_BULK_QUEUE_MAX,
} from "../../model/limits.ts";
import { SYSTEM_CLOCK } from "../clock.ts";
import type { UdpAddress } from "../ports.ts";
import { SimClock } from "../sim-clock.ts";
import { SimNetwork } from "../sim-udp.ts";
import { SYSTEM_UDP } from "../udp.ts";
import { type DatagramTransport, openDatagramTransport, type TransportOptions } from "./datagram-transport.ts";
import { type ClusterKey, clusterKey, KeyRing } from "./key-ring.ts";
import { PAYLOAD_MAX_BYTES, SEAL_BYTES, Sealer } from "./seal.ts";

const [A, B, C] = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map((text) => ({ ip: ip(text), port: 7_946 })) as [
  UdpAddress,
  UdpAddress,
  UdpAddress,
];
const keyOf = (id: number): ClusterKey => clusterKey(id, new Uint8Array(32).fill(id));
const keys = { current: keyOf(1), accepted: [] };

class World {
  readonly clock = new SimClock();
  readonly network = new SimNetwork(this.clock);
  /** `FROM→TO TEXT`, in the order in which payloads were given up. */
  readonly heard: string[] = [];

  open(at: UdpAddress, more: Partial<TransportOptions> = {}): Promise<DatagramTransport> {
    return openDatagramTransport({
      udp: this.network.host(at.ip),
      clock: this.clock,
      keys,
      at,
      onPayload: (payload, from) => this.heard.push(`${from.ip}→${at.ip} ${payload}`),
      soon: (call) => this.clock.after(0, call),
      ...more,
    });
  }
}

/** What was dropped, by reason, without what was not. */
function droppedBy(transport: DatagramTransport): Record<string, number> {
  return Object.fromEntries(Object.entries(transport.counters.dropped).filter(([, count]) => count > 0));
}

/** What someone without the key can send to `to` at best. */
function junk(session?: Uint8Array, counter = 1): Buffer {
  const datagram = randomBytes(100);
  datagram.set([1, 1]);
  if (session !== undefined) datagram.set(session, 2);
  datagram.writeUIntBE(counter, 10, 6);
  return datagram;
}

describe("the transport", () => {
  it("carries payloads both ways, of both classes, and says who sent them", async () => {
    const world = new World();
    const [a, b] = [await world.open(A), await world.open(B)];
    assert.equal(a.send(B, Buffer.from("ping"), "control"), undefined);
    assert.equal(b.send(A, Buffer.from("delta"), "bulk"), undefined);
    world.clock.advance(1);
    assert.deepEqual(world.heard, ["10.0.0.1→10.0.0.2 ping", "10.0.0.2→10.0.0.1 delta"]);
    assert.deepEqual(
      [a.counters.sent, b.counters.sent],
      [
        { control: 1, bulk: 0 },
        { control: 0, bulk: 1 },
      ],
    );
    assert.deepEqual([a.counters.opened, a.sessions, droppedBy(a)], [1, 1, {}]);
  });

  it("refuses what does not fit and, when it cannot send, bulk before control", async () => {
    const world = new World();
    const a = await world.open(A);
    await world.open(B);
    assert.equal(a.send(B, Buffer.alloc(PAYLOAD_MAX_BYTES + 1), "bulk"), "too-long");
    assert.equal(a.send({ ...B, port: 0 }, Buffer.alloc(1), "control"), "unreachable");
    world.network.stall(A.ip);
    for (let i = 0; i < UDP_BULK_QUEUE_MAX; i++) assert.equal(a.send(B, Buffer.from("bulk"), "bulk"), undefined);
    assert.equal(a.send(B, Buffer.from("bulk"), "bulk"), "queue-full");
    assert.equal(a.send(B, Buffer.from("control"), "control"), undefined);
    world.network.resume(A.ip);
    world.clock.advance(1);
    assert.equal(world.heard.length, UDP_BULK_QUEUE_MAX + 1);
    const none = { closed: 0, "queue-full": 0, "too-long": 0, unreachable: 0 };
    assert.deepEqual(a.counters.refused.bulk, { ...none, "too-long": 1, "queue-full": 1 });
    assert.equal(a.counters.udp.refused["queue-full-bulk"], 0, "what is refused is not even sealed");
    assert.deepEqual(a.counters.refused.control, { ...none, unreachable: 1 });
    assert.deepEqual(a.counters.sent, { control: 1, bulk: UDP_BULK_QUEUE_MAX });
  });

  it("gives up a payload once, however often the network does, and counts each refusal by its reason", async () => {
    const world = new World();
    const [a, b] = [await world.open(A), await world.open(B)];
    world.network.fate = () => [1, 2, 3];
    a.send(B, Buffer.from("once"), "control");
    world.clock.advance(10);
    assert.deepEqual(world.heard, ["10.0.0.1→10.0.0.2 once"]);
    assert.deepEqual(droppedBy(b), { replay: 2 });
    b.receive(Buffer.alloc(SEAL_BYTES - 1), C);
    b.receive(Buffer.alloc(DATAGRAM_MAX_BYTES + 1, 1), C);
    b.receive(Buffer.alloc(SEAL_BYTES, 2), C);
    b.receive(Buffer.alloc(SEAL_BYTES, Uint8Array.of(1, 9)), C);
    b.receive(junk(), C);
    world.clock.advance(10);
    const expected = { short: 1, oversize: 1, version: 1, "unknown-key": 1, replay: 2, "bad-tag": 1 };
    assert.deepEqual(droppedBy(b), expected);
    assert.deepEqual([b.sessions, b.waiting, b.counters.opened], [1, 0, 1]);
  });

  it("turns to another key without losing what is on its way, and drops what comes under a removed one", async () => {
    const world = new World();
    const [a, b] = [await world.open(A), await world.open(B)];
    world.network.fate = () => [5];
    const say = (text: string): void => {
      a.send(B, Buffer.from(text), "control");
      world.clock.advance(1);
    };
    say("one");
    for (const each of [a, b]) each.replaceKeys({ current: keyOf(1), accepted: [keyOf(2)] });
    say("two");
    a.replaceKeys({ current: keyOf(2), accepted: [keyOf(1)] });
    say("three");
    world.clock.advance(10);
    assert.deepEqual(
      world.heard.map((line) => line.split(" ")[1]),
      ["one", "two", "three"],
    );
    assert.equal(b.sessions, 2);
    b.replaceKeys({ current: keyOf(2), accepted: [] });
    assert.equal(b.sessions, 1);
    a.replaceKeys({ current: keyOf(1), accepted: [keyOf(2)] });
    say("four");
    a.replaceKeys({ current: keyOf(2), accepted: [] });
    say("five");
    world.clock.advance(10);
    assert.equal(world.heard.at(-1)?.split(" ")[1], "five");
    assert.deepEqual([world.heard.length, droppedBy(b)], [4, { "unknown-key": 1 }]);
  });

  it("gives up nothing once it is closed", async () => {
    const world = new World();
    const [a, b] = [await world.open(A), await world.open(B)];
    const sealed = new Sealer(new KeyRing(keys), C);
    b.receive(sealed.seal(B, Buffer.from("before")), C);
    world.clock.advance(1);
    b.receive(sealed.seal(B, Buffer.from("after")), C);
    await b.close();
    world.clock.advance(1);
    assert.deepEqual(world.heard, ["10.0.0.3→10.0.0.2 before"]);
    assert.equal(b.send(A, Buffer.from("x"), "control"), "closed");
    await a.close();
    assert.equal(world.clock.pending, 0);
  });
});

describe("a flood", () => {
  it("of junk under an honest peer's address does not shut that peer out", async () => {
    const world = new World();
    const [a, b] = [await world.open(A), await world.open(B)];
    const pings = 100;
    a.send(B, Buffer.from("known"), "control");
    world.clock.advance(1);
    for (let i = 0; i < pings; i++) {
      for (let k = 0; k < 100; k++) b.receive(junk(), A);
      a.send(B, Buffer.from("ping"), "control");
      world.clock.advance(1);
    }
    assert.equal(world.heard.length, 1 + pings);
    const { "bad-tag": opened = 0, "stranger-rate": refused = 0 } = droppedBy(b);
    assert.equal(opened + refused, pings * 100);
    assert.ok(opened < STRANGERS_BURST + 150, `${opened} datagrams of junk were opened`);
  });

  it("of strangers' junk does not keep out a known peer that starts anew, and keeps out a new one while it lasts", async () => {
    const world = new World();
    const b = await world.open(B);
    const first = await world.open(A);
    first.send(B, Buffer.from("first start"), "control");
    world.clock.advance(1);
    await first.close();
    for (let i = 0; i < 2 * STRANGERS_BURST; i++) b.receive(junk(), { ip: ip("10.9.9.9"), port: 1 });
    const [second, stranger] = [await world.open(A), await world.open(C)];
    for (const each of [second, stranger]) each.send(B, Buffer.from("new session"), "control");
    world.clock.advance(1);
    assert.deepEqual(world.heard, ["10.0.0.1→10.0.0.2 first start", "10.0.0.1→10.0.0.2 new session"]);
    world.clock.advance(1_000);
    stranger.send(B, Buffer.from("again"), "control");
    world.clock.advance(1);
    assert.equal(world.heard.at(-1), "10.0.0.3→10.0.0.2 again");
    const [firstStart, newcomer] = [1, 1];
    assert.equal(b.counters.dropped["stranger-rate"], STRANGERS_BURST + firstStart + newcomer);
  });

  it("of genuine datagrams from one broken peer is cut at its rate, and costs no other peer a datagram", async () => {
    const world = new World();
    const b = await world.open(B);
    const [broken, honest] = [A, C].map((from) => new Sealer(new KeyRing(keys), from)) as [Sealer, Sealer];
    for (const [sealer, from] of [
      [broken, A],
      [honest, C],
    ] as const)
      b.receive(sealer.seal(B, Buffer.from("hello")), from);
    world.clock.advance(0);
    for (let i = 0; i < SENDER_BURST + 500; i++) b.receive(broken.seal(B, Buffer.from("noise")), A);
    b.receive(honest.seal(B, Buffer.from("ping")), C);
    world.clock.advance(0);
    assert.deepEqual(droppedBy(b), { "sender-rate": 500 });
    assert.equal(b.counters.opened, 2 + SENDER_BURST + 1);
    assert.equal(world.heard.at(-1), "10.0.0.3→10.0.0.2 ping");
  });
});

describe("received datagrams", () => {
  it("wait in a queue with a bound, and strangers' in a lower one", async () => {
    const world = new World();
    const b = await world.open(B);
    const peers = Array.from({ length: 60 }, (_, i) => {
      const from = { ip: ip(`10.0.1.${i}`), port: 7_946 };
      return { from, sealer: new Sealer(new KeyRing(keys), from) };
    });
    for (const { from, sealer } of peers) b.receive(sealer.seal(B, Buffer.from("x")), from);
    world.clock.advance(0);
    for (const { from } of peers) for (let i = 0; i < NEW_SESSION_BURST; i++) b.receive(junk(), from);
    assert.equal(b.waiting, STRANGER_QUEUE_MAX);
    assert.equal(
      b.counters.dropped["queue-full"] + b.counters.dropped["stranger-rate"],
      60 * NEW_SESSION_BURST - b.waiting,
    );
    assert.ok(b.counters.dropped["queue-full"] > 0);
    for (const { from, sealer } of peers.slice(0, 3))
      for (let i = 0; i < SENDER_BURST; i++) b.receive(sealer.seal(B, Buffer.from("x")), from);
    assert.equal(b.waiting, RECEIVE_QUEUE_MAX);
    world.clock.advance(0);
    assert.deepEqual([b.waiting, b.counters.opened], [0, 60 + RECEIVE_QUEUE_MAX - STRANGER_QUEUE_MAX]);
    b.receive(junk(), A);
    assert.equal(b.waiting, 1, "there is room for strangers again");
  });

  it("are handled in stretches, between which the event loop goes on", async () => {
    const world = new World();
    const turns: (() => void)[] = [];
    let handled = 0;
    const b = await world.open(B, {
      soon: (call) => turns.push(call),
      onPayload: () => {
        handled++;
        world.clock.advance(RECEIVE_STRETCH_MS / 4);
      },
    });
    const sealer = new Sealer(new KeyRing(keys), A);
    for (let i = 0; i < 10; i++) b.receive(sealer.seal(B, Buffer.from("x")), A);
    const progress: number[] = [];
    for (let turn = turns.shift(); turn !== undefined; turn = turns.shift()) {
      turn();
      progress.push(handled);
      assert.equal(b.waiting, 10 - handled);
      assert.equal(b.unreadMs, handled < 10 ? (handled * RECEIVE_STRETCH_MS) / 4 : 0, "all arrived at once");
    }
    assert.deepEqual(progress, [4, 8, 10]);
  });

  it("come through real sockets, by both families, among noise", { timeout: 20_000 }, async (t) => {
    for (const address of [ip("127.0.0.1"), ip("::1")]) {
      const heard: string[] = [];
      const at = { ip: address, port: 0 };
      const open = (onPayload: TransportOptions["onPayload"]): Promise<DatagramTransport> =>
        openDatagramTransport({ udp: SYSTEM_UDP, clock: SYSTEM_CLOCK, keys, at, onPayload });
      const b = await open((payload) => heard.push(String(payload)));
      const a = await open(() => {});
      const noisy = await SYSTEM_UDP.open(at, () => {});
      t.after(() => Promise.all([a.close(), b.close(), noisy.close()]));
      const texts = Array.from({ length: 200 }, (_, i) => `message ${i}`);
      for (const text of texts) {
        noisy.send(b.local, junk(), "control");
        noisy.send(b.local, randomBytes(20), "control");
        assert.equal(a.send(b.local, Buffer.from(text), "control"), undefined);
        await sleep(0);
      }
      while (heard.length < texts.length) await sleep(1);
      assert.deepEqual(heard, texts);
      assert.equal(b.counters.udp.received, 3 * texts.length);
      const { "bad-tag": bad = 0, short = 0, version = 0 } = droppedBy(b);
      assert.deepEqual([bad, short + version], [texts.length, texts.length]);
    }
  });
});

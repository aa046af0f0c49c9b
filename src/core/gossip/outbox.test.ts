import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  GOSSIP_BULK_BURST_BYTES,
  GOSSIP_BULK_BYTES_PER_SECOND,
  GOSSIP_LINK_QUEUE_MAX_BYTES,
  GOSSIP_PACKET_MAX_BYTES,
} from "../../model/limits.ts";
import type { Entry, Message } from "./messages.ts";
import { Outbox } from "./outbox.ts";
import { Timers } from "./timers.ts";

const PING: Message = { type: "ping", seq: 1, isLink: false };
const PRUNE: Message = { type: "prune" };

function delta(seq: number, bytes = 900): Message {
  const entry: Entry = {
    key: "k",
    seq,
    value: new Uint8Array(bytes),
    floor: 0,
    stateHigh: 0,
    stateLow: 0,
    signature: new Uint8Array(64),
  };
  const owner = "00000000000000aa";
  return {
    type: "delta",
    isAsked: false,
    delta: { owner, gen: 1, from: seq - 1, to: seq, last: seq, entries: [entry] },
  };
}

function rig() {
  const timers = new Timers();
  const sent: { at: number; to: string; messages: readonly Message[]; bytes: number; isControl: boolean }[] = [];
  const overflown: string[] = [];
  let now = 0;
  const outbox = new Outbox({
    timers,
    batchMs: 2,
    now: () => now,
    send: (to, messages, bytes, isControl) => sent.push({ at: now, to, messages, bytes, isControl }),
    onOverflow: (to) => overflown.push(to),
  });
  const runUntil = (time: number) => {
    for (let due = timers.next; due !== undefined && due <= time; due = timers.next) {
      now = Math.max(now, due);
      timers.run(now);
    }
    now = time;
  };
  return { outbox, sent, overflown, runUntil };
}

describe("an outbox", () => {
  it("sends control at the end of the step, however much bulk waits", () => {
    const { outbox, sent, runUntil } = rig();
    for (let n = 1; n <= 400; n += 1) outbox.bulk("a", delta(n));
    runUntil(50);
    const before = sent.length;
    outbox.control("a", PING);
    outbox.flushControl();
    assert.deepEqual(
      sent.slice(before).map(({ at, messages }) => [at, messages]),
      [[50, [PING]]],
    );
    assert.ok(outbox.waitingBytes > 0, "bulk still waits");
  });

  it("keeps to the budget and to the size of a packet", () => {
    const { outbox, sent, runUntil } = rig();
    for (const to of ["a", "b"]) for (let n = 1; n <= 500; n += 1) outbox.bulk(to, delta(n));
    runUntil(500);
    const bytes = sent.reduce((sum, packet) => sum + packet.bytes, 0);
    assert.ok(
      bytes <= GOSSIP_BULK_BURST_BYTES + GOSSIP_BULK_BYTES_PER_SECOND / 2 + GOSSIP_PACKET_MAX_BYTES,
      `${bytes}`,
    );
    assert.ok(bytes >= GOSSIP_BULK_BYTES_PER_SECOND / 2, `${bytes}`);
    assert.ok(sent.every((packet) => packet.bytes <= GOSSIP_PACKET_MAX_BYTES));
    const counts = ["a", "b"].map((to) => sent.filter((packet) => packet.to === to).length);
    assert.ok(Math.abs((counts[0] as number) - (counts[1] as number)) <= 1, `fair: ${counts}`);
    runUntil(5_000);
    assert.equal(outbox.waitingBytes, 0);
    assert.equal(sent.length, 1_000);
  });

  it("gathers what is said within a moment, heads and the like before records", () => {
    const { outbox, sent, runUntil } = rig();
    outbox.bulk("a", delta(1, 10));
    outbox.bulk("a", PRUNE);
    runUntil(1);
    assert.equal(sent.length, 0);
    runUntil(2);
    assert.deepEqual(
      sent.map(({ messages }) => messages.map(({ type }) => type)),
      [["prune", "delta"]],
    );
  });

  it("that is full drops what came last, keeps the beginning, and says so once", () => {
    const { outbox, sent, overflown, runUntil } = rig();
    for (let n = 1; n <= 1_000; n += 1) outbox.bulk("a", delta(n));
    assert.ok(outbox.waitingBytes <= GOSSIP_LINK_QUEUE_MAX_BYTES);
    assert.deepEqual(overflown, ["a"]);
    runUntil(10_000);
    const seqs = sent.flatMap(({ messages }) => messages.map((m) => (m.type === "delta" ? m.delta.to : 0)));
    assert.deepEqual(
      seqs,
      seqs.map((_, n) => n + 1),
    );
    assert.ok(seqs.length > 400 && seqs.length < 1_000);
    assert.equal(outbox.waitingBytes, 0);
    outbox.bulk("a", delta(1));
    assert.deepEqual(overflown, ["a"], "and has room again");
  });

  it("sends all at a goodbye", () => {
    const { outbox, sent } = rig();
    for (let n = 1; n <= 300; n += 1) outbox.bulk("a", delta(n));
    outbox.control("b", PING);
    outbox.flushAll();
    assert.equal(sent.flatMap(({ messages }) => messages).length, 301);
    assert.equal(outbox.waitingBytes, 0);
  });
});

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { GOSSIP_IHAVE_MAX, GOSSIP_SYNC_ROWS_MAX } from "../../model/limits.ts";
import { decodePacket, encodePacket, messageBytes, PACKET_HEADER_BYTES } from "./codec.ts";
import type { Message, Status } from "./messages.ts";

/** As decoding makes them: with a prototype. */
const record = <T extends object>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.record(model, { noNullPrototype: true }) as unknown as fc.Arbitrary<T>;

const hex = (length: number) =>
  fc.array(fc.constantFrom(..."0123456789abcdef"), { minLength: length, maxLength: length }).map((a) => a.join(""));
const id = hex(16);
const u32 = fc.oneof(fc.nat(), fc.constantFrom(0, 2 ** 31, 2 ** 32 - 1));
const u48 = fc.oneof(u32, fc.constantFrom(2 ** 32, 2 ** 48 - 1));
const gen = fc.oneof(u48, fc.constantFrom(2 ** 48, 2 ** 52 - 1));
const bytes = (max: number) => fc.uint8Array({ maxLength: max });
const signature = fc.uint8Array({ minLength: 64, maxLength: 64 });
const address = fc.constantFrom("10.0.0.11:62501", "[fd00::11]:62501");
const flag = fc.boolean();
const status = fc.constantFrom<Status>(0, 1, 2);
const belief = record({ gen, inc: u32, status: fc.constantFrom<Status | 3>(0, 1, 2, 3) });
const head = record({ id, gen, inc: u32, hasLeft: flag, address, credential: bytes(300), signature });
const testimony = record({ target: id, gen, inc: u32, witness: id, signature });
const death = record({
  id,
  gen,
  inc: u32,
  accuser: id,
  signature,
  testimonies: fc.array(testimony, { maxLength: 4 }),
});
const key = fc.string({ unit: "grapheme", maxLength: 12 }).filter((text) => Buffer.byteLength(text) <= 64);
const entry = record({
  key,
  seq: u48,
  floor: u48,
  stateHigh: u32,
  stateLow: u32,
  value: fc.option(bytes(900), { nil: undefined }),
  signature,
});
const delta = record({ owner: id, gen, from: u48, to: u48, last: u48, entries: fc.array(entry, { maxLength: 5 }) });
const item = record({ kind: fc.constantFrom("member" as const, "records" as const), id, gen, version: u48 });
const items = fc.array(item, { maxLength: GOSSIP_IHAVE_MAX });
const row = record({ id, gen, inc: u32, status, dataGen: gen, seq: u48 });

/** One of each type: a type without a line here does not compile. */
const MESSAGES: { readonly [T in Message["type"]]: fc.Arbitrary<Omit<Extract<Message, { type: T }>, "type">> } = {
  ping: fc.record(
    { seq: u32, isLink: flag, dead: record({ gen, inc: u32 }), about: id },
    { requiredKeys: ["seq", "isLink"], noNullPrototype: true },
  ),
  ack: record({ seq: u32, isLink: flag, hasHeard: flag }),
  "ping-request": record({ seq: u32, target: id, belief }),
  "relayed-ack": record({ seq: u32, target: id, hasHeard: flag }),
  testimony: record({ seq: u32, testimony }),
  neighbor: record({ isUrgent: flag }),
  "neighbor-accept": fc.constant({}),
  "neighbor-deny": fc.constant({}),
  disconnect: fc.constant({}),
  "sync-root": record({ high: u32, low: u32 }),
  join: record({ head }),
  "join-reply": record({ head, known: fc.option(head, { nil: undefined }) }).map(({ known, ...rest }) =>
    known === undefined ? rest : { ...rest, known },
  ),
  member: record({ head, isAsked: flag }),
  death: record({ death, isAsked: flag }),
  delta: record({ delta, isAsked: flag }),
  ihave: record({ items }),
  pull: record({ item, isGraft: flag }),
  prune: fc.constant({}),
  doubts: record({ items }),
  "sync-buckets": record({
    buckets: fc.array(u32, { minLength: 256, maxLength: 256 }).map((all) => Uint32Array.from(all)),
  }),
  "sync-rows": record({
    bucket: fc.nat(255),
    after: fc.oneof(fc.constant(""), id),
    upTo: fc.oneof(fc.constant(""), id),
    rows: fc.array(row, { maxLength: GOSSIP_SYNC_ROWS_MAX }),
  }),
};
const message = fc.oneof(
  ...Object.entries(MESSAGES).map(([type, fields]) => fields.map((rest) => ({ type, ...rest }) as Message)),
);
const packet = fc.array(message, { maxLength: 4 });
const SENDER = "00112233445566ff";

describe("gossip packets", () => {
  for (const [type, fields] of Object.entries(MESSAGES))
    it(`${type}: what is written is what is read, and as long as was said`, () =>
      fc.assert(
        fc.property(fields, (rest) => {
          const written = { type, ...rest } as Message;
          const encoded = encodePacket(SENDER, [written]);
          assert.equal(encoded.length, PACKET_HEADER_BYTES + messageBytes(written));
          assert.deepEqual(decodePacket(encoded), { sender: SENDER, messages: [written], malformed: 0 });
        }),
        { numRuns: 60 },
      ));

  it("never throw, whatever arrives", () =>
    fc.assert(
      fc.property(packet, fc.array(fc.tuple(fc.nat(), fc.nat(255))), fc.nat(), (messages, changes, cut) => {
        const encoded = encodePacket(SENDER, messages);
        for (const [at, byte] of changes) encoded[at % encoded.length] = byte;
        decodePacket(encoded.subarray(0, cut % (encoded.length + 1)));
      }),
    ));

  it("never throw on noise", () => fc.assert(fc.property(bytes(1_300), (noise) => void decodePacket(noise))));

  it("are refused as a whole when they are cut off", () => {
    const encoded = encodePacket(SENDER, [{ type: "neighbor", isUrgent: true }]);
    for (let length = 0; length < encoded.length; length += 1)
      if (length !== PACKET_HEADER_BYTES)
        assert.equal(decodePacket(encoded.subarray(0, length)), undefined, `${length}`);
  });

  it("of a newer version: an unknown type and further fields are skipped", () => {
    const known: Message = { type: "ack", seq: 1, isLink: true, hasHeard: false };
    const [header, ack] = [encodePacket(SENDER, []), encodePacket(SENDER, [known]).subarray(PACKET_HEADER_BYTES)];
    const unknown = Uint8Array.of(250, 0, 2, 9, 9);
    const longer = Uint8Array.of(ack[0] as number, 0, ack.length - 3 + 2, ...ack.subarray(3), 7, 7);
    const decoded = decodePacket(new Uint8Array([...header, ...unknown, ...longer, ...ack]));
    assert.deepEqual(decoded, { sender: SENDER, messages: [known, known], malformed: 0 });
  });

  it("count what is out of bounds, and give the rest", () => {
    const rest: Message = { type: "prune" };
    const tooMany: readonly Message[] = [
      { type: "ihave", items: Array(GOSSIP_IHAVE_MAX + 1).fill({ kind: "member", id: SENDER, gen: 0, version: 0 }) },
      {
        type: "sync-rows",
        bucket: 0,
        after: "",
        upTo: "",
        rows: [{ id: SENDER, gen: 0, inc: 0, status: 3 as Status, dataGen: 0, seq: 0 }],
      },
    ];
    const entryOf = (name: string, length: number) => ({
      key: name,
      seq: 1,
      floor: 0,
      stateHigh: 0,
      stateLow: 0,
      value: new Uint8Array(length),
      signature: new Uint8Array(64),
    });
    const tooLarge = [entryOf("k".repeat(65), 0), entryOf("k", 901)].map(
      (large): Message => ({
        type: "delta",
        isAsked: false,
        delta: { owner: SENDER, gen: 1, from: 0, to: 1, last: 1, entries: [large] },
      }),
    );
    for (const bad of [...tooMany, ...tooLarge])
      assert.deepEqual(decodePacket(encodePacket(SENDER, [bad, rest])), {
        sender: SENDER,
        messages: [rest],
        malformed: 1,
      });
  });
});

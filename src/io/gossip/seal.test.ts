import assert from "node:assert/strict";
import { createSecretKey, hkdfSync, randomBytes } from "node:crypto";
import { describe, it } from "node:test";
import fc from "fast-check";
import { ip } from "../../model/ip.ts";
import { CLUSTER_KEYS_MAX, DATAGRAM_MAX_BYTES, REPLAY_WINDOW_COUNTERS } from "../../model/limits.ts";
import type { UdpAddress } from "../ports.ts";
import { type ClusterKey, clusterKey, KeyRing, type RingKey, sessionKey } from "./key-ring.ts";
import { Opener, type OpenerOptions, type OpenRefusal } from "./open.ts";
import { COUNTER_AT, HEADER_BYTES, KEY_ID_AT, PAYLOAD_MAX_BYTES, SEAL_BYTES, SESSION_AT, Sealer } from "./seal.ts";

const A: UdpAddress = { ip: ip("10.0.0.1"), port: 7_946 };
const B: UdpAddress = { ip: ip("fd00::2"), port: 7_947 };
const SESSION = Uint8Array.of(0xa0, 1, 2, 3, 4, 5, 6, 7);
const REFUSALS: readonly OpenRefusal[] = [
  "short",
  "oversize",
  "version",
  "unknown-key",
  "wrong-source",
  "replay",
  "too-old",
  "bad-tag",
];

/** The key with this id whose bytes all are `byte`. */
function keyOf(id: number, byte = id): ClusterKey {
  return clusterKey(id, new Uint8Array(32).fill(byte));
}

function ringOf(current: ClusterKey, ...accepted: ClusterKey[]): KeyRing {
  return new KeyRing({ current, accepted });
}

/** A sends to B. */
function pair(options: OpenerOptions = {}): { sealer: Sealer; opener: Opener; ring: KeyRing } {
  const ring = ringOf(keyOf(1));
  return { ring, sealer: new Sealer(ringOf(keyOf(1)), A), opener: new Opener(ring, B, options) };
}

function assertOpens(opener: Opener, datagram: Buffer, payload: Uint8Array, from = A): void {
  const opened = opener.open(datagram, from);
  assert.ok(typeof opened !== "string", `refused: ${opened}`);
  assert.deepEqual(opened, Buffer.from(payload));
}

describe("a sealed datagram", () => {
  it("has this very form", () => {
    const sealer = new Sealer(ringOf(keyOf(7)), A, { newSession: () => SESSION });
    const datagrams = ["ping", ""].map((text) => sealer.seal(B, Buffer.from(text)).toString("hex"));
    assert.deepEqual(datagrams, [
      "0107a0010203040506070000000000019af1377ee111a2acb1955540ca1d34964b3f02d0",
      "0107a001020304050607000000000002bbfdfcaa9038dfe134f4a9dab543ccd0",
    ]);
    const opener = new Opener(ringOf(keyOf(7)), B);
    assertOpens(opener, Buffer.from(datagrams[0] ?? "", "hex"), Buffer.from("ping"));
  });

  it("is sealed under a key that HKDF-SHA256 derives from the cluster's key and the session", () => {
    const [key] = [ringOf(keyOf(7)).current];
    const expected = hkdfSync("sha256", Buffer.alloc(32, 7), "weft datagram 1", `weft session ${"12345678"}`, 32);
    assert.ok(sessionKey(key, Buffer.from("12345678")).equals(createSecretKey(Buffer.from(expected))));
  });

  it("opens to what was sealed, whatever that is", () => {
    const { sealer, opener } = pair();
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: PAYLOAD_MAX_BYTES }), (payload) => {
        const datagram = sealer.seal(B, payload);
        assert.equal(datagram.length, payload.length + SEAL_BYTES);
        assertOpens(opener, datagram, payload);
      }),
    );
    assert.equal(opener.sessions, 1);
    const full = sealer.seal(B, Buffer.alloc(PAYLOAD_MAX_BYTES, 1));
    assert.equal(full.length, DATAGRAM_MAX_BYTES);
    assertOpens(opener, full, Buffer.alloc(PAYLOAD_MAX_BYTES, 1));
    assert.throws(() => sealer.seal(B, Buffer.alloc(PAYLOAD_MAX_BYTES + 1)), /a payload has at most 1200 bytes/);
  });

  it("is refused when any one bit is another, by a stranger and by one who knows the session", () => {
    for (const isKnown of [false, true]) {
      const { sealer, opener } = pair();
      const before = sealer.seal(B, Buffer.from("before"));
      if (isKnown) assertOpens(opener, before, Buffer.from("before"));
      const datagram = sealer.seal(B, Buffer.from("the message"));
      for (let bit = 0; bit < datagram.length * 8; bit++) {
        const forged = Buffer.from(datagram);
        forged[bit >> 3] = (forged[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        assert.ok(REFUSALS.includes(opener.open(forged, A) as OpenRefusal), `bit ${bit}`);
      }
      assert.equal(opener.sessions, isKnown ? 1 : 0, "junk leaves nothing behind");
      assertOpens(opener, datagram, Buffer.from("the message"));
    }
  });

  it("is refused when cut, lengthened, or of another version", () => {
    const { sealer, opener } = pair();
    const datagram = sealer.seal(B, Buffer.from("the message"));
    for (let length = 0; length < datagram.length; length++)
      assert.equal(opener.open(datagram.subarray(0, length), A), length < SEAL_BYTES ? "short" : "bad-tag");
    assert.equal(opener.open(Buffer.concat([datagram, Buffer.alloc(1)]), A), "bad-tag");
    assert.equal(opener.open(Buffer.concat([datagram, Buffer.alloc(DATAGRAM_MAX_BYTES)]), A), "oversize");
    assert.equal(opener.open(Buffer.concat([Uint8Array.of(2), datagram.subarray(1)]), A), "version");
    assertOpens(opener, datagram, Buffer.from("the message"));
  });

  it("is for one receiver and from one source: it opens neither elsewhere nor under another address", () => {
    const { sealer, opener, ring } = pair();
    const datagram = sealer.seal(B, Buffer.from("for B"));
    for (const other of [{ ...B, port: 1 }, { ...B, ip: ip("fd00::3") }, A])
      assert.equal(new Opener(ring, other).open(datagram, A), "bad-tag");
    for (const other of [
      { ...A, port: 1 },
      { ...A, ip: ip("10.0.0.9") },
    ])
      assert.equal(opener.open(datagram, other), "bad-tag");
    assertOpens(opener, datagram, Buffer.from("for B"));
    const more = sealer.seal(B, Buffer.from("more"));
    for (const other of [
      { ...A, port: 1 },
      { ...A, ip: ip("10.0.0.9") },
    ])
      assert.equal(opener.open(more, other), "wrong-source");
    assertOpens(opener, more, Buffer.from("more"));
  });
});

describe("replays", () => {
  it("are refused in any order; what is late by less than the window is taken, once", () => {
    fc.assert(
      fc.property(
        fc.shuffledSubarray(
          Array.from({ length: 60 }, (_, i) => i),
          { minLength: 60 },
        ),
        fc.array(fc.nat(59), { maxLength: 60 }),
        (order, replays) => {
          const { sealer, opener } = pair();
          const datagrams = order.map((_, i) => sealer.seal(B, Uint8Array.of(i)));
          for (const i of order) assertOpens(opener, datagrams[i] ?? Buffer.alloc(0), Uint8Array.of(i));
          for (const i of [...order, ...replays])
            assert.equal(opener.open(datagrams[i] ?? Buffer.alloc(0), A), "replay");
        },
      ),
      { numRuns: 30 },
    );
  });

  it("older than the window are too old, whether they were seen or not", () => {
    const { sealer, opener } = pair();
    const datagrams = Array.from({ length: REPLAY_WINDOW_COUNTERS + 1 }, () => sealer.seal(B, Buffer.from("x")));
    assertOpens(opener, datagrams.at(-1) ?? Buffer.alloc(0), Buffer.from("x"));
    assert.equal(opener.open(datagrams[0] ?? Buffer.alloc(0), A), "too-old");
    assertOpens(opener, datagrams[1] ?? Buffer.alloc(0), Buffer.from("x"));
  });

  it("do not come back with a session that had to make room: it goes on behind its highest counter", () => {
    const { opener } = pair({ sessionsMax: 2, forgottenMax: 2 });
    const senders = [1, 2, 3].map(() => new Sealer(ringOf(keyOf(1)), A));
    const rounds = [1, 2].map((round) => senders.map((sender) => sender.seal(B, Uint8Array.of(round))));
    const [first = [], second = []] = rounds;
    for (const datagram of first) assertOpens(opener, datagram, Uint8Array.of(1));
    assert.equal(opener.sessions, 2);
    assert.equal(opener.open(first[0] ?? Buffer.alloc(0), A), "too-old", "the evicted one's");
    for (const datagram of second) assertOpens(opener, datagram, Uint8Array.of(2));
    for (const datagram of [...first, ...second])
      assert.match(String(opener.open(datagram, A)), /^(replay|too-old)$/, "all are remembered or forgotten, not lost");
    assert.equal(opener.sessions, 2);
  });

  it("of a session that was forgotten twice over are taken again: the bound is the tables' size", () => {
    const { opener } = pair({ sessionsMax: 1, forgottenMax: 1 });
    const first = new Sealer(ringOf(keyOf(1)), A).seal(B, Uint8Array.of(1));
    assertOpens(opener, first, Uint8Array.of(1));
    for (let i = 0; i < 2; i++)
      assertOpens(opener, new Sealer(ringOf(keyOf(1)), A).seal(B, Uint8Array.of(2)), Uint8Array.of(2));
    assertOpens(opener, first, Uint8Array.of(1));
  });

  it("keep those sessions that are heard, and drop the one heard longest ago", () => {
    const { opener } = pair({ sessionsMax: 2, forgottenMax: 2 });
    const [old, quiet, young] = [1, 2, 3].map(() => new Sealer(ringOf(keyOf(1)), A)) as [Sealer, Sealer, Sealer];
    for (const sender of [old, quiet, old, young]) assertOpens(opener, sender.seal(B, SESSION), SESSION);
    assert.equal(opener.inspect(old.seal(B, SESSION), A), "known");
    assert.equal(opener.inspect(quiet.seal(B, SESSION), A), "stranger");
  });

  it("are new to a receiver that starts anew: what is above must not mind", () => {
    const { sealer, opener, ring } = pair();
    const datagram = sealer.seal(B, SESSION);
    assertOpens(opener, datagram, SESSION);
    assert.equal(opener.open(datagram, A), "replay");
    assertOpens(new Opener(ring, B), datagram, SESSION);
  });
});

describe("noise", () => {
  it("is refused and never thrown at, and leaves nothing behind", () => {
    const { sealer, opener } = pair();
    const header = sealer.seal(B, SESSION).subarray(0, HEADER_BYTES);
    const noise = fc.uint8Array({ maxLength: 1_500 });
    fc.assert(
      fc.property(noise, fc.nat(HEADER_BYTES), (bytes, kept) => {
        const datagram = Buffer.concat([header.subarray(0, kept), bytes]);
        assert.ok(REFUSALS.includes(opener.open(datagram, A) as OpenRefusal));
      }),
      { numRuns: 2_000 },
    );
    assert.equal(opener.sessions, 0);
    assert.notEqual(Error.stackTraceLimit, 0, "other errors keep their stacks");
    assertOpens(opener, sealer.seal(B, SESSION), SESSION);
  });
});

describe("nonces", () => {
  const seen = (datagrams: Buffer[]): Set<string> =>
    new Set(datagrams.map((datagram) => datagram.toString("hex", KEY_ID_AT, HEADER_BYTES)));

  it("never repeat under a key: not in a run, not over restarts, not over a new session, not over other keys", () => {
    const ring = ringOf(keyOf(1), keyOf(2));
    const datagrams: Buffer[] = [];
    for (let start = 0; start < 50; start++) {
      const sealer = new Sealer(ring, A);
      const ten = (): number => datagrams.push(...Array.from({ length: 10 }, () => sealer.seal(B, SESSION)));
      ten();
      ring.replace({ current: keyOf(2), accepted: [keyOf(1)] });
      ten();
      ring.replace({ current: keyOf(1), accepted: [keyOf(2)] });
      ten();
      sealer.renewSession();
      ten();
    }
    assert.equal(seen(datagrams).size, datagrams.length);
    assert.equal(new Set(datagrams.map((each) => each.toString("hex", SESSION_AT, COUNTER_AT))).size, 100);
  });

  it("end with a session when its counters are used up", () => {
    const sealer = new Sealer(ringOf(keyOf(1)), A, { firstCounter: 2 ** 48 - 2 });
    const opener = new Opener(ringOf(keyOf(1)), B);
    const datagrams = Array.from({ length: 4 }, () => sealer.seal(B, SESSION));
    for (const datagram of datagrams) assertOpens(opener, datagram, SESSION);
    assert.deepEqual(
      datagrams.map((datagram) => datagram.toString("hex", COUNTER_AT, HEADER_BYTES)),
      ["fffffffffffe", "ffffffffffff", "000000000001", "000000000002"],
    );
    assert.equal(opener.sessions, 2);
  });
});

describe("the key ring", () => {
  it("turns from one key to the next without a refusal, and refuses the old one once it is gone", () => {
    const rings = [ringOf(keyOf(1)), ringOf(keyOf(1))] as const;
    const sealer = new Sealer(rings[0], A);
    const opener = new Opener(rings[1], B);
    const old = sealer.seal(B, SESSION);
    const late = sealer.seal(B, SESSION);
    assertOpens(opener, old, SESSION);
    for (const ring of rings) ring.replace({ current: keyOf(1), accepted: [keyOf(2)] });
    assertOpens(opener, sealer.seal(B, SESSION), SESSION);
    assert.equal(opener.open(old, A), "replay", "a key that stays keeps its windows");
    rings[0].replace({ current: keyOf(2), accepted: [keyOf(1)] });
    const next = sealer.seal(B, SESSION);
    assert.equal(next[KEY_ID_AT], 2);
    assertOpens(opener, next, SESSION);
    assertOpens(opener, late, SESSION);
    rings[1].replace({ current: keyOf(2), accepted: [] });
    opener.forgetRemovedKeys();
    assert.equal(opener.sessions, 1, "what belonged to the old key is gone");
    assert.equal(opener.open(old, A), "unknown-key");
    assert.equal(opener.open(next, A), "replay");
    assertOpens(opener, sealer.seal(B, SESSION), SESSION);
  });

  it("takes other bytes under an old id for another key", () => {
    const { sealer, opener, ring } = pair();
    assertOpens(opener, sealer.seal(B, SESSION), SESSION);
    ring.replace({ current: keyOf(1, 9), accepted: [] });
    opener.forgetRemovedKeys();
    assert.equal(opener.open(sealer.seal(B, SESSION), A), "bad-tag");
    assertOpens(opener, new Sealer(ringOf(keyOf(1, 9)), A).seal(B, SESSION), SESSION);
  });

  it("is left as it was by keys that it does not take", () => {
    const ring = ringOf(keyOf(1));
    const before: RingKey = ring.current;
    const fault = { name: "Fault", code: "bad-config" };
    assert.throws(() => ring.replace({ current: keyOf(2), accepted: [keyOf(2, 3)] }), fault);
    const many = Array.from({ length: CLUSTER_KEYS_MAX }, (_, i) => keyOf(i + 2));
    assert.throws(() => ring.replace({ current: keyOf(1), accepted: many }), fault);
    assert.equal(ring.current, before);
    assert.equal(ring.byId(2), undefined);
    ring.replace({ current: keyOf(1), accepted: many.slice(1) });
    assert.equal(ring.current, before, "positive control");
  });

  it("takes keys of 32 bytes with an id of one byte, and leaves no copy where they came from", () => {
    const fault = { name: "Fault", code: "bad-config" };
    for (const [id, length] of [
      [1, 31],
      [1, 33],
      [256, 32],
      [-1, 32],
      [1.5, 32],
    ] as const) {
      const bytes = randomBytes(length);
      assert.throws(() => clusterKey(id, bytes), fault);
      assert.deepEqual(bytes, Buffer.alloc(length));
    }
    const bytes = randomBytes(32);
    const copy = Buffer.from(bytes);
    const key = clusterKey(255, bytes);
    assert.deepEqual(bytes, Buffer.alloc(32));
    assert.ok(key.secret.equals(createSecretKey(copy)));
  });
});

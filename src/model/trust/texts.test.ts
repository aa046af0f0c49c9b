import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { fromText, toText } from "./bytes.ts";
import { type CallProof, formatProof, parseProof } from "./call-proof.ts";
import { keyRingSchema } from "./key-ring.ts";
import { formatToken, parseToken, type TokenKind } from "./token.ts";

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const tokenId = fc.stringMatching(/^[a-z0-9]{8}$/);
const anyToken = fc.record(
  { kind: fc.constantFrom<TokenKind>("join", "operator"), id: tokenId, secret: bytes(32) },
  { noNullPrototype: true },
);

test("a token comes back from its text, white space around it or not", () => {
  fc.assert(
    fc.property(anyToken, (token) => {
      assert.deepEqual(parseToken(formatToken(token)), token);
      assert.deepEqual(parseToken(` ${formatToken(token)}\n`), token);
    }),
  );
  const good = formatToken({ kind: "join", id: "abcdefgh", secret: new Uint8Array(32) });
  assert.match(good, /^weft-join-abcdefgh-A{43}$/);
  for (const bad of [
    "",
    good.slice(0, -1),
    `${good}A`,
    good.replace("join", "agent"),
    good.replace("abcdefgh", "abc"),
    `${good}\n${good}`,
    // The last character has bits that 32 bytes have not.
    `${good.slice(0, -1)}B`,
  ])
    assert.equal(parseToken(bad), undefined, bad);
});

const anyProof: fc.Arbitrary<CallProof> = fc
  .record({
    nonce: bytes(40),
    signed: fc.option(fc.record({ publicKey: bytes(32), signature: bytes(64) }), { nil: undefined }),
    ephemeral: fc.option(bytes(32), { nil: undefined }),
    token: fc.option(fc.record({ tokenId, mac: bytes(32) }), { nil: undefined }),
  })
  .map(({ nonce, signed, ephemeral, token }) => ({ nonce, ...signed, ...(ephemeral && { ephemeral }), ...token }));

test("a proof comes back from its header, and no other text is one", () => {
  fc.assert(
    fc.property(anyProof, (proof) => {
      const text = formatProof(proof);
      assert.deepEqual(parseProof(text), proof);
      for (const bad of [
        `${text} `,
        `${text} more=1`,
        ` ${text}`,
        text.replace("v1", "v2"),
        `${text} ${text.slice(3)}`,
      ])
        assert.equal(parseProof(bad), undefined, bad);
    }),
  );
});

test("noise is no proof, no token and no bytes, and throws nothing", () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 700, unit: "binary" }), (noise) => {
      for (const text of [noise, `v1 ${noise}`, `v1 nonce=${noise}`]) assert.equal(parseProof(text), undefined);
      assert.equal(parseToken(noise), undefined);
      const read = fromText(noise);
      assert.ok(read === undefined || toText(read) === noise);
    }),
    { numRuns: 2_000 },
  );
});

test("a signature without its key, or an HMAC without its token, is no proof", () => {
  const nonce = toText(new Uint8Array(40));
  const [key, signature, mac] = [32, 64, 32].map((length) => toText(new Uint8Array(length)));
  const rows = [`signature=${signature}`, `key=${key}`, `mac=${mac}`, "token=abcdefgh", `key=${key} mac=${mac}`];
  for (const row of rows) assert.equal(parseProof(`v1 nonce=${nonce} ${row}`), undefined, row);
  assert.ok(parseProof(`v1 nonce=${nonce} key=${key} signature=${signature}`), "with both it is");
});

test("a key ring has as many keys as its phase, each of 32 bytes", () => {
  const current = { id: 1, key: toText(new Uint8Array(32)) };
  const good = [
    { phase: "steady", current },
    { phase: "spreading", current, other: { ...current, id: 2 } },
  ];
  for (const ring of good) assert.ok(keyRingSchema.safeParse(ring).success);
  const bad = [
    { phase: "steady", current, other: current },
    { phase: "retiring", current },
    { phase: "steady", current: { id: 0, key: current.key } },
    { phase: "steady", current: { id: 1, key: "AAAA" } },
  ];
  for (const ring of bad) assert.ok(!keyRingSchema.safeParse(ring).success, JSON.stringify(ring));
});

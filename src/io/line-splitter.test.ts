import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { LineSplitter } from "./line-splitter.ts";

function linesOf(splitter: LineSplitter, pieces: readonly Buffer[]): string[] {
  const lines: string[] = [];
  for (const piece of pieces) assert(splitter.push(piece, (line) => lines.push(line)));
  return lines;
}

test("lines come out as they went in, however the bytes are cut", () => {
  const line = fc.string({ unit: "grapheme" }).map((text) => text.replaceAll("\n", ""));
  fc.assert(
    fc.property(fc.array(line), fc.integer({ min: 1, max: 9 }), (lines, size) => {
      const bytes = Buffer.from(lines.map((each) => `${each}\n`).join(""));
      const count = Math.ceil(bytes.length / size);
      const pieces = Array.from({ length: count }, (_, n) => bytes.subarray(n * size, (n + 1) * size));
      assert.deepEqual(linesOf(new LineSplitter(10_000), pieces), lines);
    }),
  );
});

test("a last line without its newline is not one yet", () => {
  assert.deepEqual(linesOf(new LineSplitter(10), [Buffer.from("a\nb")]), ["a"]);
});

test("a line may be as long as the bound and not a byte longer, with its newline or before it", () => {
  const ignore = () => {};
  assert.equal(new LineSplitter(4).push(Buffer.from("1234\n1234\n"), ignore), true);
  assert.equal(new LineSplitter(4).push(Buffer.from("12345\n"), ignore), false);
  const splitter = new LineSplitter(4);
  assert.equal(splitter.push(Buffer.from("1234"), ignore), true);
  assert.equal(splitter.push(Buffer.from("5"), ignore), false);
});

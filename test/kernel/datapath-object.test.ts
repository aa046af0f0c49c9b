/**
 * The compiled programs in the repository are what the C beside them compiles to. Where the compiler is another one, or
 * there is none, at least nobody has changed the C, or the object, without building it again.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { datapathObject, linked } from "../../src/io/kernel/bpf/object.ts";
import { buildObject, CLANG, compilerVersion, OBJECT_FILE, sourceDigest } from "../../tools/build-bpf.ts";

const { compiler, source, digest, maps, programs } = datapathObject();
const found = compilerVersion();

test("the object was made of the sources as they are", () => {
  assert.equal(source, sourceDigest(), "the C has changed: run `npm run build-bpf`");
});

test("the object's digest is of its own maps and programs", () => {
  const made = createHash("sha256").update(JSON.stringify({ maps, programs })).digest("hex");
  assert.equal(digest, made.slice(0, digest.length));
  assert.match(digest, /^[0-9a-f]{8}$/);
});

test("the compiler that made the object makes it again, byte for byte", {
  skip: found === compiler ? false : `${CLANG} is ${found ?? "not there"}, and the object was made by ${compiler}`,
}, () => {
  assert.equal(buildObject(), readFileSync(OBJECT_FILE, "utf8"));
});

test("the tunnel's program refers to every map: a datapath is found by it", () => {
  assert.deepEqual([...new Set(Object.values(programs.tunnel?.maps ?? {}))].sort(), Object.keys(maps).sort());
});

test("no program loads a map that is not there, and each load gets its descriptor", () => {
  const fds = new Map(Object.keys(maps).map((name, i) => [name, 1_000 + i]));
  for (const [name, { maps: loads, instructions }] of Object.entries(programs)) {
    const bytes = linked(name, fds);
    assert.equal(bytes.length, instructions.length * 8);
    for (const [instruction, map] of Object.entries(loads)) {
      const at = Number(instruction) * 8;
      // A load of 64 bits whose source register says that the number is a descriptor.
      assert.deepEqual(
        [bytes.readUInt8(at), bytes.readUInt8(at + 1) >> 4, bytes.readInt32LE(at + 4)],
        [0x18, 1, fds.get(map)],
        `${name} loads ${map}`,
      );
    }
    const isLoad = (at: number) => bytes.readUInt8(at) === 0x18 && bytes.readUInt8(at + 1) >> 4 === 1;
    const count = instructions.filter((_, i) => isLoad(i * 8)).length;
    assert.equal(count, Object.keys(loads).length, `${name} loads no descriptor that nobody filled in`);
  }
  assert.deepEqual(Object.keys(programs).sort(), ["container", "tunnel", "underlay"]);
});

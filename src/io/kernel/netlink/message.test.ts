import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Fault } from "../../../model/fault.ts";
import { decodeVerdict } from "./error-message.ts";
import { Attributes, MessageWriter, readMessages } from "./message.ts";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const bytes = (...parts: string[]) => Uint8Array.from(Buffer.from(parts.join("").replaceAll(" ", ""), "hex"));

test("messages and attributes have the bytes that linux/netlink.h lays out", () => {
  const writer = new MessageWriter(7, 4);
  writer.message(24, 0x501, () => {
    writer.u8(2);
    writer.u8(24);
    writer.u16(0x0102);
    writer.attributeU32(6, 258);
    writer.nested(18, () => {
      writer.attributeString(1, "vxlan");
      writer.attributeU16BigEndian(15, 64_000);
    });
    writer.attributeU8(7, 1);
    writer.attributeU32BigEndian(3, -300);
  });
  writer.message(16, 1, () => writer.raw([1, 2, 3, 4, 5]));
  writer.acknowledgeLast();
  const expected = [
    "44000000 1800 0105 07000000 00000000", // length, type, flags, sequence, port
    "02 18 0201",
    "0800 0600 02010000",
    "1800 1280 0a00 0100 76786c616e00 0000 0600 0f00 fa00 0000", // nested; a text with its zero, padded
    "0500 0700 01 000000",
    "0800 0300 fffffed4",
    "18000000 1000 0500 08000000 00000000 0102030405 000000",
  ];
  assert.equal(hex(writer.bytes), hex(bytes(...expected)));
  assert.equal(writer.nextSequence, 9);
  writer.clear();
  assert.deepEqual([writer.bytes.length, writer.nextSequence], [0, 9]);
});

test("what was written is read: numbers, texts, nests, and the last of a type", () => {
  const writer = new MessageWriter();
  writer.message(1, 0, () => {
    writer.attributeU32(1, 0xfffffffe);
    writer.attributeU32BigEndian(2, 0x01020304);
    writer.attributeU16BigEndian(3, 0xabcd);
    writer.attributeU8(4, 255);
    writer.nested(5, () => writer.attributeString(1, "größe"));
    writer.attributeU8(4, 7);
  });
  const [message] = [...readMessages(writer.bytes)];
  const read = new Attributes(message?.payload ?? new Uint8Array());
  assert.deepEqual(
    [read.u32(1), read.u32BigEndian(2), read.u16BigEndian(3), read.u8(4), read.nested(5)?.string(1), read.u8(9)],
    [0xfffffffe, 0x01020304, 0xabcd, 7, "größe", undefined],
  );
});

test("any list of attributes comes back as it was", () => {
  const attribute = fc.tuple(fc.integer({ min: 0, max: 0x3fff }), fc.uint8Array({ maxLength: 40 }));
  fc.assert(
    fc.property(fc.array(attribute, { maxLength: 20 }), (list) => {
      const writer = new MessageWriter(1, 1);
      writer.message(1, 0, () => {
        for (const [type, value] of list) writer.attribute(type, value);
      });
      const [message] = [...readMessages(writer.bytes)];
      const read = [...new Attributes(message?.payload ?? new Uint8Array()).entries()];
      assert.deepEqual(
        read.map(([type, value]) => [type, hex(value)]),
        list.map(([type, value]) => [type, hex(value)]),
      );
    }),
  );
});

test("a verdict is an errno with the kernel's words, if it has any", () => {
  const verdict = (flags: number, type: number, payload: Uint8Array) =>
    decodeVerdict({ type, flags, sequence: 1, payload });
  const header = "14000000 1800 0105 07000000 00000000";
  const words = "0700 0100 6e6f00 00"; // NLMSGERR_ATTR_MSG "no"
  assert.deepEqual(verdict(0, 2, bytes("00000000", header)), { errno: 0 });
  assert.deepEqual(verdict(0x100, 2, bytes("efffffff", header)), { errno: 17 });
  assert.deepEqual(verdict(0x300, 2, bytes("efffffff", header, words)), { errno: 17, text: "no" });
  // Not capped: the whole request stands between.
  assert.deepEqual(verdict(0x200, 2, bytes("efffffff", header, "01020304", words)), { errno: 17, text: "no" });
  // The end of a dump has no request in it.
  assert.deepEqual(verdict(0x202, 3, bytes("eaffffff", words)), { errno: 22, text: "no" });
});

test("noise is a fault of the kernel's answer, never another error", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => {
      try {
        for (const message of readMessages(noise)) {
          for (const type of [0, 2, 3]) decodeVerdict({ ...message, type });
          const read = new Attributes(message.payload);
          for (const [type] of read.entries()) {
            read.string(type);
            read.nested(type);
            read.u32(type);
          }
        }
      } catch (error) {
        assert.ok(error instanceof Fault && error.code === "kernel-refused", String(error));
      }
    }),
    { numRuns: 2_000 },
  );
});

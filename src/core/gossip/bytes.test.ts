import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ByteReader, ByteWriter } from "./bytes.ts";

describe("a byte writer", () => {
  it("outgrows its capacity without a loss, at whatever field", () => {
    for (let capacity = 1; capacity < 40; capacity += 1) {
      const writer = new ByteWriter(capacity)
        .u8(1)
        .u16(2)
        .u32(3)
        .u48(2 ** 40)
        .u56(2 ** 50)
        .text("é")
        .blob(Uint8Array.of(9));
      const reader = new ByteReader(writer.id("00112233445566ff").finish());
      const read = [reader.u8(), reader.u16(), reader.u32(), reader.u48(), reader.u56(), reader.text(), reader.blob()];
      assert.deepEqual(read, [1, 2, 3, 2 ** 40, 2 ** 50, "é", Uint8Array.of(9)], `capacity ${capacity}`);
      assert.deepEqual([reader.id(), reader.left, reader.isBad], ["00112233445566ff", 0, false]);
    }
  });
});

describe("a byte reader", () => {
  it("is bad, and gives nothing more, past the end and for what is no UTF-8", () => {
    const short = new ByteReader(Uint8Array.of(1, 2, 3));
    assert.deepEqual([short.u16(), short.u16(), short.isBad, short.u8(), short.left], [258, 0, true, 0, 0]);
    const noise = new ByteReader(Uint8Array.of(2, 0xff, 0xff));
    assert.deepEqual([noise.text(), noise.isBad], ["", true]);
    const tooLarge = new ByteReader(Uint8Array.of(0x10, 0, 0, 0, 0, 0, 0));
    tooLarge.u56();
    assert.ok(tooLarge.isBad, "no exact number");
  });
});

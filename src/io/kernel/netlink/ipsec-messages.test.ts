/**
 * The count of IPsec policies in netlink's bytes: this machine's kernel has none of it, so the bytes are written here as
 * linux/xfrm.h has them.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { decodePolicyCount, encodePolicyCountGet } from "./ipsec-messages.ts";
import { MessageWriter, readMessages } from "./message.ts";

const ASKED = Buffer.from("1400000025000100010000000000000000000000", "hex");

function answer(out: number, forwarded: number): Uint8Array {
  const writer = new MessageWriter();
  writer.message(0x24, 0, () => {
    writer.u32(0);
    writer.attribute(1, new Uint8Array(Uint32Array.of(7, out, forwarded, 1, 1, 1).buffer));
  });
  return writer.bytes;
}

test("the question is the one of linux/xfrm.h", () => {
  const writer = new MessageWriter();
  encodePolicyCountGet(writer);
  assert.deepEqual(Buffer.from(writer.bytes), ASKED);
});

test("policies for what goes out and what is forwarded count, those for what comes in do not", () => {
  const counts = [answer(0, 0), answer(2, 0), answer(1, 3)].map((bytes) =>
    [...readMessages(bytes)].map(decodePolicyCount),
  );
  assert.deepEqual(counts, [[0], [2], [4]]);
});

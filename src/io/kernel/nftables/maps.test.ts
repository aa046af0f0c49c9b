/** Elements of maps: what concatenations are to the kernel, round trips, messages that do not get too long. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { NftValue } from "../../../core/host/host-state.ts";
import { addressBits, bigIntToIp, type Family, type Ip, ip } from "../../../model/ip.ts";
import { type Message, MessageWriter, readMessages } from "../netlink/message.ts";
import { decodeElements, decodeMap, encodeElementsAdd, encodeMapAdd } from "./maps.ts";

const TABLE = { family: "ip", name: "weft" } as const;

function write(encode: (writer: MessageWriter) => void): Message[] {
  const writer = new MessageWriter();
  encode(writer);
  return [...readMessages(writer.bytes)].map((message) => ({ ...message, payload: message.payload.slice() }));
}

const first = (messages: readonly Message[]): Message => {
  const [message] = messages;
  assert.ok(message !== undefined);
  return message;
};

const ipOf = (f: Family) =>
  fc.bigInt({ min: 0n, max: (1n << BigInt(addressBits(f))) - 1n }).map((n) => bigIntToIp(f, n));

test("elements of a large map go out in several messages and come back as they were written", () => {
  const pairs = Array.from({ length: 2_500 }, (_, i): [Ip, Ip] => [
    bigIntToIp(6, BigInt(i)),
    bigIntToIp(6, BigInt(i + 9)),
  ]);
  const map = { name: "nodes6", type: "ipv6_addr : ipv6_addr" } as const;
  const messages = write((writer) => encodeElementsAdd(writer, TABLE, map, pairs));
  assert.equal(messages.length, 4);
  const back = messages.flatMap((message) => decodeElements(message, map.type));
  assert.deepEqual(back, pairs);
});

test("a concatenation is its parts in registers of their own, and comes back as it was written", () => {
  const map = { name: "ports-at", type: "ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service" } as const;
  const message = first(
    write((writer) =>
      encodeElementsAdd(writer, TABLE, map, [[`${ip("10.0.0.11")} . udp . 53`, `${ip("9.0.1.2")} . 5353`]]),
    ),
  );
  const text = Buffer.from(message.payload).toString("hex");
  assert.match(text, /0a00000b1100000000350000.*0900010214e90000/);
  assert.deepEqual(decodeMap(first(write((w) => encodeMapAdd(w, TABLE, map)))), map);
  const port = fc.nat(0xffff);
  const key = fc
    .tuple(ipOf(6), fc.constantFrom("tcp", "udp", "132"), port)
    .map((parts) => parts.join(" . ") as NftValue);
  const value = fc.tuple(ipOf(6), port).map((parts) => parts.join(" . ") as NftValue);
  const type = "ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service";
  // 84 bytes each: as many as there may be in one message.
  fc.assert(
    fc.property(fc.array(fc.tuple(key, value), { maxLength: 50 }), (elements) => {
      const messages = write((w) => encodeElementsAdd(w, TABLE, { name: "m", type }, elements));
      assert.deepEqual(
        messages.flatMap((each) => decodeElements(each, type)),
        elements,
      );
    }),
  );
});

test("verdicts come back as they were written", () => {
  const type = fc.constantFrom("ipv4_addr : verdict" as const, "ipv6_addr : verdict" as const);
  const verdict = fc.constantFrom("accept" as const, "drop" as const, "jump to4-dcos" as const);
  fc.assert(
    fc.property(type, fc.array(verdict, { minLength: 1, maxLength: 9 }), (type, verdicts) => {
      const map = { name: "networks", type };
      assert.deepEqual(decodeMap(first(write((w) => encodeMapAdd(w, TABLE, map)))), map);
      const family = type.startsWith("ipv4") ? 4 : 6;
      const elements = verdicts.map((each, i) => [bigIntToIp(family, BigInt(i)), each] as const);
      const message = first(write((w) => encodeElementsAdd(w, TABLE, map, elements)));
      assert.deepEqual(decodeElements(message, type), elements);
    }),
  );
});

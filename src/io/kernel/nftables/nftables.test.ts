/** The codecs of nftables together: golden bytes, round trips, noise. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type {
  NftAddressField,
  NftChain,
  NftFamily,
  NftPortKey,
  NftStatement,
  NftTransportField,
} from "../../../core/host/host-state.ts";
import { Fault } from "../../../model/fault.ts";
import { addressBits, bigIntToIp, cidr, type Family, networkOf, withLength } from "../../../model/ip.ts";
import { bytesToMac, mac } from "../../../model/mac.ts";
import { Attributes, type Message, MessageWriter, readMessages } from "../netlink/message.ts";
import { decodeStatements } from "./decode-statements.ts";
import { encodeStatement } from "./encode-statement.ts";
import { type Expression, readExpressions, writeExpressions } from "./expressions.ts";
import { decodeElements, decodeMap, encodeElementsAdd, encodeMapAdd } from "./maps.ts";
import { decodeChain, decodeRule, decodeTable, encodeChainAdd, encodeRuleAdd, encodeTableAdd } from "./objects.ts";
import { encodeNftOp, encodeTransaction } from "./transaction.ts";

const IFINDEX = 5;
const indexOf = (device: string) => (device === "vtep1024" ? IFINDEX : undefined);
const noRules = () => [];
const nameOf = (ifindex: number) => (ifindex === IFINDEX ? "vtep1024" : undefined);
const ADDRESS_MAP = { name: "m", type: "ipv4_addr : ipv4_addr" } as const;
const VERDICTS = { name: "m", type: "ipv4_addr : verdict" } as const;
const PORT_MAP = { name: "m", type: "inet_proto . inet_service : ipv4_addr . inet_service" } as const;
const TABLE = { family: "ip", name: "weft" } as const;

function write(encode: (writer: MessageWriter) => void): Message[] {
  const writer = new MessageWriter();
  encode(writer);
  return [...readMessages(writer.bytes)].map((message) => ({ ...message, payload: message.payload.slice() }));
}

const first = (messages: readonly Message[]): Message => {
  const [message = assert.fail("there is a message")] = messages;
  return message;
};

const expressionsOf = (statement: NftStatement, family: NftFamily): readonly Expression[] => {
  const expressions = encodeStatement(statement, family, indexOf);
  assert.ok(expressions !== undefined);
  return expressions;
};

test("statements are the expressions that `nft --debug=netlink` shows", () => {
  const rows: [NftFamily, NftStatement, string][] = [
    [
      "ip",
      { kind: "match", field: "ip saddr", op: "==", prefix: cidr("9.0.0.0/8") },
      "payload 1b@1+12 => 1; cmp 1 == 09",
    ],
    [
      "ip",
      { kind: "match", field: "ip daddr", op: "!=", prefix: cidr("44.128.0.0/20") },
      "payload 4b@1+16 => 1; bitwise 1 & fffff000 => 1; cmp 1 != 2c800000",
    ],
    [
      "ip6",
      { kind: "match", field: "ip6 daddr", op: "==", prefix: cidr("fd01:b::/64") },
      "payload 8b@1+24 => 1; cmp 1 == fd01000b00000000",
    ],
    [
      "netdev",
      { kind: "match", field: "ip saddr", op: "==", prefix: cidr("9.0.1.1/32") },
      "meta 1 => 1; cmp 1 == 0800; payload 4b@1+12 => 1; cmp 1 == 09000101",
    ],
    [
      "ip",
      { kind: "range", field: "udp dport", first: 64_000, last: 64_000 },
      "meta 16 => 1; cmp 1 == 11; payload 2b@2+2 => 1; cmp 1 == fa00",
    ],
    [
      "netdev",
      { kind: "range", field: "tcp sport", first: 80, last: 90 },
      "meta 16 => 1; cmp 1 == 06; payload 2b@2+0 => 1; cmp 1 >= 0050; cmp 1 <= 005a",
    ],
    [
      "netdev",
      { kind: "range", field: "icmpv6 type", first: 133, last: 137 },
      "meta 1 => 1; cmp 1 == 86dd; meta 16 => 1; cmp 1 == 3a; payload 1b@2+0 => 1; cmp 1 >= 85; cmp 1 <= 89",
    ],
    [
      "ip",
      { kind: "range", field: "icmp type", first: 5, last: 5 },
      "meta 16 => 1; cmp 1 == 01; payload 1b@2+0 => 1; cmp 1 == 05",
    ],
    [
      "netdev",
      { kind: "ether saddr", op: "!=", mac: mac("02:57:09:00:01:02") },
      "meta 8 => 1; cmp 1 == 0100; payload 6b@0+6 => 1; cmp 1 != 025709000102",
    ],
    [
      "ip",
      { kind: "vmap", field: "ip saddr", length: 24, map: "m" },
      "payload 4b@1+12 => 1; bitwise 1 & ffffff00 => 1; lookup m 1 => 0",
    ],
    ["ip", { kind: "ct direction reply" }, "ct direction => 1; cmp 1 == 01"],
    ["ip", { kind: "fib daddr type local" }, "fib daddr type => 1; cmp 1 == 02000000"],
    ["ip", { kind: "ct status dnat" }, "ct status => 1; bitwise 1 & 20000000 => 1; cmp 1 != 00000000"],
    [
      "ip",
      { kind: "dnat", family: "ip", key: "ip daddr . meta l4proto . th dport", map: "ports-at" },
      "payload 4b@1+16 => 1; meta 16 => 9; payload 2b@2+2 => 10; lookup ports-at 1 => 1; dnat 2 1 9",
    ],
    [
      "ip6",
      { kind: "dnat", family: "ip6", key: "ip6 daddr . meta l4proto . th dport", map: "ports-at" },
      "payload 16b@1+24 => 1; meta 16 => 2; payload 2b@2+2 => 13; lookup ports-at 1 => 1; dnat 10 1 2",
    ],
    [
      "ip6",
      { kind: "dnat", family: "ip6", key: "meta l4proto . th dport", map: "ports" },
      "meta 16 => 1; payload 2b@2+2 => 9; lookup ports 1 => 1; dnat 10 1 2",
    ],
    ["ip", { kind: "iifname", device: "vtep1024" }, "meta 6 => 1; cmp 1 == 76746570313032340000000000000000"],
    ["ip", { kind: "oifname", device: "m-dcos" }, "meta 7 => 1; cmp 1 == 6d2d64636f7300000000000000000000"],
    ["ip", { kind: "jump", chain: "more" }, "verdict -3 more"],
    ["ip", { kind: "return" }, "verdict -5"],
    ["ip", { kind: "drop" }, "verdict 0"],
    ["ip", { kind: "accept" }, "verdict 1"],
    ["ip", { kind: "masquerade" }, "masq"],
    [
      "netdev",
      { kind: "forward", field: "ip daddr", map: "nodes4", device: "vtep1024" },
      "meta 1 => 1; cmp 1 == 0800; immediate 05000000 => 1; payload 4b@1+16 => 2; lookup nodes4 2 => 2; fwd 1 2 2",
    ],
  ];
  for (const [family, statement, expected] of rows)
    assert.equal(expressionsOf(statement, family).map(formatExpression).join("; "), expected);
});

function formatExpression(e: Expression): string {
  switch (e.name) {
    case "payload":
      return `payload ${e.bytes}b@${e.base}+${e.offset} => ${e.to}`;
    case "meta":
      return `meta ${e.key} => ${e.to}`;
    case "cmp":
      return `cmp ${e.from} ${e.op} ${e.value}`;
    case "bitwise":
      return `bitwise ${e.from} & ${e.mask} => ${e.to}`;
    case "immediate":
      return `immediate ${e.value} => ${e.to}`;
    case "verdict":
      return e.chain === undefined ? `verdict ${e.code}` : `verdict ${e.code} ${e.chain}`;
    case "lookup":
      return `lookup ${e.set} ${e.from} => ${e.to}`;
    case "fib daddr type":
    case "ct status":
    case "ct direction":
      return `${e.name} => ${e.to}`;
    case "dnat":
      return `dnat ${e.protocol} ${e.address} ${e.port}`;
    case "fwd":
      return `fwd ${e.device} ${e.address} ${e.protocol}`;
    default:
      return e.name;
  }
}

test("a transaction begins and ends as such, and a table is replaced by making, deleting and making it", () => {
  const messages = write((writer) =>
    encodeTransaction(writer, () => {
      const table = { ...TABLE, chains: [], maps: [] };
      assert.equal(encodeNftOp(writer, { op: "nft.table.replace", table }, indexOf, noRules), undefined);
    }),
  );
  const name = "02000000 0900 0100 7765667400 000000";
  assert.deepEqual(
    messages.map(({ type, flags, payload }) => [type, flags, Buffer.from(payload).toString("hex")]),
    [
      [0x10, 0x1, "0000000a"],
      [0xa00, 0x401, name.replaceAll(" ", "")],
      [0xa02, 0x1, name.replaceAll(" ", "")],
      [0xa00, 0x401, name.replaceAll(" ", "")],
      [0x11, 0x1, "0000000a"],
    ],
  );
});

test("an operation that names a device that is not there writes nothing", () => {
  const chain: NftChain = { name: "x", rules: [[{ kind: "forward", field: "ip daddr", map: "m", device: "gone" }]] };
  const messages = write((writer) => {
    const op = { op: "nft.chain.replace", family: "netdev", table: "weft", chain } as const;
    const result = encodeNftOp(writer, op, indexOf, noRules);
    assert.deepEqual(result, { missingDevice: "gone" });
  });
  assert.deepEqual(messages, []);
});

const commentText = fc.constantFrom(undefined, "weft", "a longer one, of somebody else's");
const familyNumber = fc.constantFrom<Family>(4, 6);
const ipOf = (f: Family) =>
  fc.bigInt({ min: 0n, max: (1n << BigInt(addressBits(f))) - 1n }).map((n) => bigIntToIp(f, n));
const prefixOf = (f: Family) =>
  fc.tuple(ipOf(f), fc.integer({ min: 0, max: addressBits(f) })).map(([a, length]) => networkOf(withLength(a, length)));
const plain = <T>(shape: { [K in keyof T]: fc.Arbitrary<T[K]> }) => fc.record(shape, { noNullPrototype: true });
const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,14}$/);
const match = familyNumber.chain((f) => {
  const fields: NftAddressField[] = f === 4 ? ["ip saddr", "ip daddr"] : ["ip6 saddr", "ip6 daddr"];
  return plain({
    kind: fc.constant("match" as const),
    field: fc.constantFrom(...fields),
    op: fc.constantFrom("==" as const, "!=" as const),
    prefix: prefixOf(f),
  });
});
const range = fc
  .constantFrom<NftTransportField>("tcp sport", "tcp dport", "udp sport", "udp dport", "icmp type", "icmpv6 type")
  .chain((field) => {
    const number = fc.nat(field.startsWith("icmp") ? 0xff : 0xffff);
    return fc
      .tuple(number, number)
      .map(([a, b]) => ({ kind: "range" as const, field, first: Math.min(a, b), last: Math.max(a, b) }));
  });
const verdictMap = familyNumber.chain((f) =>
  plain({
    kind: fc.constant("vmap" as const),
    field: fc.constantFrom<NftAddressField>(f === 4 ? "ip saddr" : "ip6 daddr"),
    length: fc.integer({ min: 0, max: addressBits(f) }),
    map: name,
  }),
);
const statement: fc.Arbitrary<NftStatement> = fc.oneof(
  { arbitrary: match, weight: 5 },
  { arbitrary: verdictMap, weight: 2 },
  plain({ kind: fc.constantFrom("iifname" as const, "oifname" as const), device: name }),
  { arbitrary: range, weight: 3 },
  plain({
    kind: fc.constant("ether saddr" as const),
    op: fc.constantFrom("==" as const, "!=" as const),
    mac: fc.uint8Array({ minLength: 6, maxLength: 6 }).map(bytesToMac),
  }),
  plain({
    kind: fc.constantFrom(
      "notrack",
      "counter",
      "masquerade",
      "accept",
      "drop",
      "return",
      "fib daddr type local",
      "ct status dnat",
      "ct direction reply",
    ),
  }),
  plain({
    kind: fc.constant("dnat" as const),
    family: fc.constantFrom("ip" as const, "ip6" as const),
    key: fc.constantFrom<NftPortKey>(
      "meta l4proto . th dport",
      "ip daddr . meta l4proto . th dport",
      "ip6 daddr . meta l4proto . th dport",
    ),
    map: name,
  }),
  plain({ kind: fc.constant("jump" as const), chain: name }),
  plain({ kind: fc.constant("arp saddr ip" as const), ip: fc.nat().map((n) => bigIntToIp(4, BigInt(n))) }),
  plain({
    kind: fc.constant("forward" as const),
    field: fc.constantFrom("ip daddr" as const, "ip6 daddr" as const),
    map: name,
    device: fc.constant("vtep1024"),
  }),
) as fc.Arbitrary<NftStatement>;
const nftFamily = fc.constantFrom<NftFamily>("ip", "ip6", "netdev");

test("any rule comes back from its bytes as it was written", () => {
  fc.assert(
    fc.property(nftFamily, fc.array(statement, { maxLength: 6 }), commentText, (family, rule, comment) => {
      const [message] = write((writer) =>
        encodeRuleAdd(writer, { family, name: "weft" }, "c", {
          expressions: rule.flatMap((each) => expressionsOf(each, family)),
          comment,
        }),
      );
      assert.ok(message !== undefined);
      const said = comment === undefined ? [] : [{ kind: "comment", text: comment }];
      assert.deepEqual(decodeRule(message, nameOf)?.rule, [...rule, ...said]);
    }),
    { numRuns: 500 },
  );
});

test("one expression more, less or different makes a statement unknown, never another one of ours", () => {
  fc.assert(
    fc.property(nftFamily, statement, fc.nat(5), (family, each, at) => {
      const expressions = expressionsOf(each, family);
      const foreign: Expression = { name: "unknown", text: "counter" };
      const withForeign = expressions.toSpliced(at % expressions.length, 0, foreign);
      assert.ok(decodeStatements(withForeign, family, nameOf).some(({ kind }) => kind === "unknown"));
    }),
  );
  const load = expressionsOf({ kind: "match", field: "ip saddr", op: "==", prefix: cidr("9.0.0.0/8") }, "ip");
  const rows: (readonly Expression[])[] = [
    load.slice(0, 1),
    [{ name: "cmp", from: 1, op: "==", value: "09" }],
    [{ name: "verdict", code: -4, chain: "goto" }],
    [{ name: "immediate", to: 1, value: "05" }],
    [
      { name: "payload", base: 1, offset: 13, bytes: 1, to: 1 },
      { name: "cmp", from: 1, op: "==", value: "09" },
    ],
    expressionsOf({ kind: "forward", field: "ip daddr", map: "m", device: "vtep1024" }, "netdev").slice(2),
  ];
  for (const expressions of rows) {
    const kinds = decodeStatements(expressions, "netdev", nameOf).map(({ kind }) => kind);
    assert.deepEqual(kinds, ["unknown"], JSON.stringify(expressions));
  }
});

test("tables, chains and maps come back as they were written", () => {
  fc.assert(
    fc.property(nftFamily, name, fc.integer({ min: -400, max: 400 }), familyNumber, (family, text, priority, f) => {
      const table = { family, name: text };
      assert.deepEqual(decodeTable(first(write((w) => encodeTableAdd(w, table)))), table);
      const hook =
        family === "netdev"
          ? ({ type: "filter", hook: "ingress", priority, device: text, policy: "accept" } as const)
          : ({ type: "nat", hook: "postrouting", priority, policy: "drop" } as const);
      assert.deepEqual(decodeChain(first(write((w) => encodeChainAdd(w, table, text, hook)))), {
        table,
        name: text,
        hook,
      });
      assert.deepEqual(decodeChain(first(write((w) => encodeChainAdd(w, table, text)))), { table, name: text });
      const map = { name: text, type: f === 4 ? "ipv4_addr : ipv4_addr" : "ipv6_addr : ipv6_addr" } as const;
      assert.deepEqual(decodeMap(first(write((w) => encodeMapAdd(w, table, map)))), map);
    }),
  );
});

test("noise in any message is a fault of the kernel's answer, never another error", () => {
  const rule: NftStatement[] = [
    { kind: "match", field: "ip saddr", op: "==", prefix: cidr("9.0.1.0/25") },
    { kind: "range", field: "udp dport", first: 64_000, last: 64_001 },
    { kind: "dnat", family: "ip", key: "meta l4proto . th dport", map: "ports" },
    { kind: "ether saddr", op: "!=", mac: mac("02:57:09:00:01:02") },
    { kind: "forward", field: "ip daddr", map: "nodes4", device: "vtep1024" },
    { kind: "jump", chain: "more" },
  ];
  const samples = [
    ...write((w) =>
      encodeRuleAdd(w, TABLE, "c", { expressions: rule.flatMap((each) => expressionsOf(each, "ip")), comment: "x" }),
    ),
    ...write((w) => encodeElementsAdd(w, TABLE, ADDRESS_MAP, [[bigIntToIp(4, 1n), bigIntToIp(4, 2n)]])),
    ...write((w) => encodeElementsAdd(w, TABLE, PORT_MAP, [["tcp . 80", `${bigIntToIp(4, 2n)} . 80`]])),
    ...write((w) => encodeElementsAdd(w, TABLE, VERDICTS, [[bigIntToIp(4, 1n), "jump more"]])),
    ...write((w) => encodeMapAdd(w, TABLE, PORT_MAP)),
    ...write((w) => encodeChainAdd(w, TABLE, "c", { type: "filter", hook: "input", priority: 0, policy: "accept" })),
  ];
  const noise = fc.tuple(
    fc.constantFrom(...samples),
    fc.array(fc.tuple(fc.nat(700), fc.nat(255)), { maxLength: 4 }),
    fc.nat(900),
  );
  fc.assert(
    fc.property(noise, ([sample, changes, length]) => {
      const payload = sample.payload.slice(0, length);
      for (const [at, byte] of changes) payload[at] = byte;
      const message = { ...sample, payload };
      for (const decode of [decodeTable, decodeChain, decodeMap]) onlyFaults(() => decode(message));
      for (const { type } of [ADDRESS_MAP, PORT_MAP, VERDICTS]) onlyFaults(() => decodeElements(message, type));
      onlyFaults(() => decodeRule(message, nameOf));
    }),
    { numRuns: 5_000 },
  );
});

test("statements with values of a wrong length are unknown", () => {
  const value = fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes).toString("hex"));
  fc.assert(
    fc.property(nftFamily, statement, value, (family, each, wrong) => {
      const expressions = expressionsOf(each, family).map((e) => ("value" in e ? { ...e, value: wrong } : e));
      const writer = new MessageWriter();
      writer.message(0, 0, () => writer.nested(1, () => writeExpressions(writer, expressions)));
      const read = readExpressions(
        new Attributes(first([...readMessages(writer.bytes)]).payload).nested(1) as Attributes,
      );
      assert.deepEqual(read, expressions);
      onlyFaults(() => decodeStatements(read, family, nameOf));
    }),
    { numRuns: 1_000 },
  );
});

function onlyFaults(call: () => unknown): void {
  try {
    call();
  } catch (error) {
    assert.ok(error instanceof Fault && error.code === "kernel-refused", String(error));
  }
}

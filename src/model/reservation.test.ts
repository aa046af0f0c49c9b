import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Assignment, Peer } from "./cluster.ts";
import { hostedBy, hostingOf } from "./hosting.ts";
import { bigIntToIp, cidr, type Ip, ip, ipToBigInt } from "./ip.ts";
import { RESERVED_ADDRESSES_MAX } from "./limits.ts";
import type { Overlay } from "./network.ts";
import { parseReserved, reservationSchema, reservedText, unreservable } from "./reservation.ts";

const BOTH: Overlay = {
  ...{ name: "both", subnet: cidr("9.0.0.0/16"), prefix: 24, subnet6: cidr("fd01:b::/64"), prefix6: 80, enabled: true },
  more: [{ subnet: cidr("10.8.0.0/24"), prefix: 29 }],
};

test("which addresses a network has to reserve", () => {
  const given = ["9.0.1.2", "9.0.1.77", "9.0.1.126", "9.0.1.130", "9.0.255.254", "fd01:b::2", "10.8.0.2", "10.8.0.6"];
  for (const text of given) assert.equal(unreservable(ip(text), BOTH), undefined, text);
  for (const text of [
    "9.0.1.0",
    "9.0.1.1",
    "9.0.1.127",
    "9.0.1.128",
    "9.0.1.129",
    "9.0.1.255",
    "fd01:b::1",
    "10.8.0.3",
  ])
    assert.match(unreservable(ip(text), BOTH) ?? "", /gateway's or the broadcast/, text);
  for (const text of ["9.1.0.2", "10.0.0.1", "fd01:c::2", "10.8.1.2"])
    assert.match(unreservable(ip(text), BOTH) ?? "", /lies in no address space of network both/, text);
});

test("addresses and ranges as text", () => {
  assert.deepEqual(parseReserved("9.0.1.77"), ["9.0.1.77"]);
  assert.deepEqual(parseReserved("9.0.1.255-9.0.2.1, fd01:b::9"), ["9.0.1.255", "9.0.2.0", "9.0.2.1", "fd01:b::9"]);
  const wrong = [
    "",
    "9.0.1",
    "9.0.1.2-",
    "9.0.1.3-9.0.1.2",
    "9.0.1.2-fd01::1",
    "9.0.1.2,9.0.1.2",
    "9.0.1.1-9.0.1.2-9.0.1.3",
  ];
  for (const text of [...wrong, "9.0.1.1-9.0.1.17", "::-ffff::", "9.0.1.1-9.0.1.9,9.0.2.1-9.0.2.9"])
    assert.equal(parseReserved(text), undefined, text);
  assert.equal(
    reservedText([ip("9.0.1.2"), ip("9.0.1.3"), ip("9.0.1.5"), ip("fd01::1")]),
    "9.0.1.2-9.0.1.3,9.0.1.5,fd01::1",
  );
  const anyAddress = fc.oneof(
    fc.nat(0xffff_ffff).map((value) => bigIntToIp(4, BigInt(value))),
    fc.nat(0xffff).map((value) => bigIntToIp(6, ipToBigInt(ip("fd01:b::")) + BigInt(value))),
  );
  fc.assert(
    fc.property(fc.uniqueArray(anyAddress, { minLength: 1, maxLength: RESERVED_ADDRESSES_MAX }), (addresses) =>
      assert.deepEqual(parseReserved(reservedText(addresses)), addresses),
    ),
  );
});

test("what is no reservation", () => {
  const good = { network: "both", name: "web-1", addresses: ["9.0.1.77"] };
  assert.deepEqual(reservationSchema.parse(good), good);
  const many = Array.from({ length: RESERVED_ADDRESSES_MAX + 1 }, (_, n) => `9.0.1.${n + 2}`);
  for (const change of [{ name: "a/b" }, { name: "" }, { name: "-a" }, { addresses: [] }, { addresses: many }])
    assert.ok(!reservationSchema.safeParse({ ...good, ...change }).success, JSON.stringify(change));
  assert.ok(!reservationSchema.safeParse({ ...good, addresses: ["9.0.1.77", "9.0.1.77"] }).success);
  assert.ok(!reservationSchema.safeParse({ ...good, addresses: ["9.0.1.077"] }).success);
});

const WEB = { network: "both", name: "web", addresses: [ip("9.0.1.77"), ip("9.0.1.78")] };
const SELF = { agent: { id: "self" } as Assignment["agent"], reservations: [WEB] };
const peer = (id: string, ...hosted: [string, number][]): Peer =>
  ({
    ...{ id, subnets: [cidr("9.0.2.0/24")] },
    hosted: hosted.map(([address, revision]) => ({ address: ip(address), revision })),
  }) as unknown as Peer;

test("of all claims to what is reserved the newest counts, whoever is asked first, and none that was seen to be old", () => {
  const [older, newer] = [peer("a", ["9.0.1.77", 4]), peer("b", ["9.0.1.77", 5])];
  for (const peers of [
    [older, newer],
    [newer, older],
  ]) {
    const hosting = hostingOf(SELF, peers);
    assert.deepEqual([...hosting], [["9.0.1.77", { agentId: "b", revision: 5 }]]);
    assert.deepEqual([hostedBy(older, hosting), hostedBy(newer, hosting)], [[], ["9.0.1.77"]]);
  }
  assert.equal(hostingOf(SELF, [older], new Map([[ip("9.0.1.77"), 5]])).size, 0, "its time is over for good");
  assert.equal(hostingOf(SELF, [newer], new Map([[ip("9.0.1.77"), 5]])).size, 1);
  const hosted = [{ ...WEB, address: ip("9.0.1.77"), revision: 6 }];
  assert.equal(hostingOf({ ...SELF, hosted }, [newer]).get(ip("9.0.1.77"))?.agentId, "self");
  assert.equal(hostingOf({ ...SELF, hosted }, [peer("b", ["9.0.1.77", 7])]).get(ip("9.0.1.77"))?.agentId, "b");
});

test("a claim to what is not reserved counts for nothing, and one in a slice of the claimant's own makes no route", () => {
  const wide = peer("a", ["9.0.1.79", 9], ["9.0.1.78", 1]);
  assert.deepEqual([...hostingOf(SELF, [wide]).keys()], ["9.0.1.78"]);
  assert.equal(hostingOf({ agent: SELF.agent }, [wide]).size, 0);
  const own = { ...peer("a", ["9.0.1.78", 1]), subnets: [cidr("9.0.1.0/24")] };
  assert.deepEqual(hostedBy(own, hostingOf(SELF, [own])), []);
  const other = [{ ...WEB, name: "db", address: ip("9.0.1.77") as Ip, revision: 6 }];
  assert.equal(hostingOf({ ...SELF, hosted: other }, []).size, 0, "the reservation is another one by now");
});

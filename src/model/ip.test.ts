import assert from "node:assert/strict";
import { isIPv4, isIPv6 } from "node:net";
import { test } from "node:test";
import fc from "fast-check";
import {
  addressBits,
  addressCount,
  bigIntToIp,
  bytesToIp,
  cidr,
  contains,
  containsCidr,
  type Family,
  familyOf,
  indexOfAddress,
  indexOfSubnet,
  ip,
  ipInterface,
  ipToBigInt,
  ipToBytes,
  networkOf,
  nthAddress,
  nthSubnet,
  overlaps,
  parseCidr,
  parseIp,
  parseIpInterface,
  subnetCount,
} from "./ip.ts";

const family = fc.constantFrom<Family>(4, 6);
const anyIp = family.chain((f) =>
  fc.bigInt({ min: 0n, max: (1n << BigInt(addressBits(f))) - 1n }).map((n) => bigIntToIp(f, n)),
);
const anyCidr = anyIp.chain((address) =>
  fc
    .integer({ min: 0, max: addressBits(familyOf(address)) })
    .map((length) => networkOf(ipInterface(`${address}/${length}`))),
);

test("addresses are canonical text, whatever form they came in", () => {
  const rows: [string, string | undefined][] = [
    ["9.0.1.2", "9.0.1.2"],
    ["255.255.255.255", "255.255.255.255"],
    ["FD01:B:0:0:0:0:0:1", "fd01:b::1"],
    ["fd01:b:0:0:1:8000:0:0", "fd01:b::1:8000:0:0"],
    ["1:0:0:2:0:0:0:3", "1:0:0:2::3"],
    ["1:0:0:2:3:0:0:4", "1::2:3:0:0:4"], // the first of two equal runs
    ["1:0:2:3:4:5:6:7", "1:0:2:3:4:5:6:7"], // one group of zeros is not shortened
    ["::", "::"],
    ["::1", "::1"],
    ["1::", "1::"],
    ["::ffff:10.0.0.1", "::ffff:a00:1"],
    ["1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"],
    ["010.0.0.1", undefined],
    ["10.1", undefined],
    ["256.0.0.1", undefined],
    ["1:2:3:4:5:6:7", undefined],
    ["1:2:3:4:5:6:7:8::", undefined],
    ["1::2::3", undefined],
    [":1::2", undefined],
    ["12345::", undefined],
    ["fe80::1%eth0", undefined],
    ["1.2.3.4::", undefined],
    ["", undefined],
    [" 10.0.0.1", undefined],
  ];
  for (const [text, expected] of rows) assert.equal(parseIp(text), expected, text);
});

test("a prefix with host bits, a bare address and a length out of range are refused", () => {
  assert.equal(parseCidr("9.0.0.0/8"), "9.0.0.0/8");
  assert.equal(parseCidr("FD01:B::/64"), "fd01:b::/64");
  for (const text of [
    "9.0.0.1/8",
    "9.0.0.0",
    "9.0.0.0/33",
    "fd01::/129",
    "9.0.0.0/08",
    "9.0.0.0/",
    "/8",
    "9.0.0.0/8/8",
  ])
    assert.equal(parseCidr(text), undefined, text);
  assert.equal(parseIpInterface("44.128.0.1/20"), "44.128.0.1/20");
  assert.equal(networkOf(ipInterface("44.128.0.1/20")), "44.128.0.0/20");
});

test("slices are counted and numbered as the original's table says, and carry where it did not", () => {
  assert.equal(subnetCount(cidr("9.0.0.0/8"), 24), 65_536n);
  assert.equal(subnetCount(cidr("9.0.0.0/8"), 26), 262_144n);
  assert.equal(nthSubnet(cidr("192.168.0.0/16"), 24, 255n), "192.168.255.0/24");
  assert.equal(nthSubnet(cidr("fd01:b::/64"), 80, 255n), "fd01:b:0:0:ff::/80");
  assert.equal(nthSubnet(cidr("fd01:b::/64"), 80, 256n), "fd01:b:0:0:100::/80");
  assert.equal(nthSubnet(cidr("fd01:b:0:0:100::/80"), 81, 1n), "fd01:b::100:8000:0:0/81");
  assert.equal(nthAddress(cidr("44.128.0.0/20"), 4_094n), "44.128.15.254");
});

test("the kernel of Node agrees which texts are addresses", () => {
  const texts = fc.oneof(
    fc.ipV4(),
    fc.ipV6(),
    fc.string({ unit: fc.constantFrom(..."0123456789abcdef:."), maxLength: 24 }),
  );
  fc.assert(
    fc.property(texts, (text) => {
      assert.equal(parseIp(text) !== undefined, isIPv4(text) || isIPv6(text), text);
    }),
    { numRuns: 2_000 },
  );
});

test("text, bytes and number of an address are three forms of one value", () => {
  fc.assert(
    fc.property(anyIp, (address) => {
      assert.equal(parseIp(address), address);
      assert.equal(bytesToIp(ipToBytes(address)), address);
      assert.equal(bigIntToIp(familyOf(address), ipToBigInt(address)), address);
      if (familyOf(address) === 6) assert.equal(address, new URL(`http://[${address}]`).hostname.slice(1, -1));
    }),
  );
});

test("numbering the addresses and slices of a prefix can be undone", () => {
  fc.assert(
    fc.property(anyCidr, fc.nat(), fc.nat(), (prefix, a, b) => {
      const index = BigInt(a) % addressCount(prefix);
      const address = nthAddress(prefix, index);
      assert.ok(contains(prefix, address));
      assert.equal(indexOfAddress(prefix, address), index);
      const length = Math.min(Number(prefix.split("/")[1]) + (b % 20), addressBits(familyOf(prefix)));
      const slice = nthSubnet(prefix, length, BigInt(b) % subnetCount(prefix, length));
      assert.ok(containsCidr(prefix, slice));
      assert.equal(nthSubnet(prefix, length, indexOfSubnet(prefix, slice)), slice);
    }),
  );
});

test("two prefixes overlap just when an end of one lies in the other", () => {
  fc.assert(
    fc.property(anyCidr, anyCidr, (a, b) => {
      const ends = (p: typeof a) => [nthAddress(p, 0n), nthAddress(p, addressCount(p) - 1n)];
      assert.equal(overlaps(a, b), ends(a).some((x) => contains(b, x)) || ends(b).some((x) => contains(a, x)));
    }),
  );
  assert.ok(overlaps(cidr("9.0.0.0/8"), cidr("9.1.0.0/16")));
  assert.ok(!overlaps(cidr("192.168.0.0/17"), cidr("192.168.128.0/17")));
  assert.ok(!overlaps(cidr("0.0.0.0/0"), cidr("::/0")));
  assert.ok(ip("10.0.0.1") === "10.0.0.1");
});

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { halves } from "../../model/half.ts";
import {
  addressBits,
  addressCount,
  bigIntToIp,
  cidr,
  containsCidr,
  type Family,
  ipInterface,
  lengthOf,
  networkOf,
  overlaps,
} from "../../model/ip.ts";
import { subnetPool } from "./carve.ts";

const smallSpace = fc.constantFrom<Family>(4, 6).chain((family) =>
  fc.record({
    space: fc
      .tuple(fc.bigInt({ min: 1n << 24n, max: 1n << 31n }), fc.integer({ min: 8, max: addressBits(family) - 8 }))
      .map(([address, length]) =>
        networkOf(ipInterface(`${bigIntToIp(family, address << (family === 6 ? 96n : 0n))}/${length}`)),
      ),
    bits: fc.integer({ min: 0, max: 7 }),
  }),
);

test("an agent subnet's halves are those of the original's table", () => {
  const rows = [
    ["9.0.0.0/24", "9.0.0.0/25", "9.0.0.128/25"],
    ["9.0.2.0/24", "9.0.2.0/25", "9.0.2.128/25"],
    ["192.168.0.0/24", "192.168.0.0/25", "192.168.0.128/25"],
    ["fd01:b::/80", "fd01:b::/81", "fd01:b::8000:0:0/81"],
    ["fd01:b:0:0:1::/80", "fd01:b:0:0:1::/81", "fd01:b::1:8000:0:0/81"],
    ["fd01:b:0:0:2::/80", "fd01:b:0:0:2::/81", "fd01:b::2:8000:0:0/81"],
    ["fd01:b:0:0:100::/80", "fd01:b:0:0:100::/81", "fd01:b::100:8000:0:0/81"],
  ] as const;
  for (const [subnet, mesos, docker] of rows) assert.deepEqual(halves(cidr(subnet)), { mesos, docker });
});

test("an IPv6 overlay gives all of its 65,536 slices, the carry at 256 included", () => {
  const pool = subnetPool("dcos", cidr("fd01:b::/64"), 80);
  const slices = Array.from({ length: 65_536 }, () => pool.take());
  assert.deepEqual(
    [0, 1, 255, 256, 65_535].map((n) => slices[n]),
    ["fd01:b::/80", "fd01:b:0:0:1::/80", "fd01:b:0:0:ff::/80", "fd01:b:0:0:100::/80", "fd01:b:0:0:ffff::/80"],
  );
  assert.equal(new Set(slices).size, 65_536);
  assert.equal(pool.take(), undefined);
  assert.deepEqual(pool.usage(), {
    kind: "subnet6",
    network: "dcos",
    pool: "fd01:b::/64",
    used: 65_536n,
    size: 65_536n,
  });
});

test("slices are counted, and the first and the last one are used", () => {
  const rows = [
    ["192.168.0.0/16", 24, 256, "192.168.0.0/24", "192.168.255.0/24"],
    ["192.168.128.0/17", 24, 128, "192.168.128.0/24", "192.168.255.0/24"],
    ["10.0.0.0/24", 24, 1, "10.0.0.0/24", "10.0.0.0/24"],
  ] as const;
  for (const [space, length, count, first, last] of rows) {
    const pool = subnetPool("dcos", cidr(space), length);
    const slices = Array.from({ length: count }, () => pool.take());
    assert.deepEqual([slices[0], slices.at(-1), pool.take()], [first, last, undefined]);
  }
  assert.equal(subnetPool("dcos", cidr("9.0.0.0/8"), 26).usage().size, 262_144n);
});

test("slices are disjoint and together fill the space, and so do the halves of each", () => {
  fc.assert(
    fc.property(smallSpace, ({ space, bits }) => {
      const pool = subnetPool("dcos", space, lengthOf(space) + bits);
      const slices = Array.from({ length: 2 ** bits }, () => pool.take()).filter((slice) => slice !== undefined);
      assert.equal(pool.take(), undefined);
      const parts = slices.flatMap((slice) => Object.values(halves(slice)));
      for (const set of [slices, parts]) {
        assert.equal(
          set.reduce((sum, part) => sum + addressCount(part), 0n),
          addressCount(space),
        );
        set.forEach((part, i) => {
          assert.ok(containsCidr(space, part));
          const next = set[i + 1];
          assert.ok(next === undefined || !overlaps(part, next));
        });
        assert.equal(new Set(set).size, set.length);
      }
    }),
  );
});

test("only a free slice of this very pool can be reserved, only a given one released", () => {
  const pool = subnetPool("dcos", cidr("9.0.0.0/8"), 24);
  assert.ok(pool.reserve(cidr("9.0.1.0/24")));
  assert.ok(!pool.reserve(cidr("9.0.1.0/24")), "twice");
  assert.ok(!pool.reserve(cidr("9.0.2.0/25")), "another length");
  for (const foreign of ["10.0.0.0/24", "8.255.255.0/24", "fd01::/24"])
    assert.ok(!pool.reserve(cidr(foreign)) && !pool.release(cidr(foreign)), "another space");
  assert.ok(!pool.release(cidr("9.0.2.0/24")), "free already");
  assert.deepEqual([pool.take(), pool.take()], ["9.0.0.0/24", "9.0.2.0/24"]);
  assert.ok(pool.release(cidr("9.0.1.0/24")));
  assert.equal(pool.take(), "9.0.1.0/24", "the lowest free one comes next");
});

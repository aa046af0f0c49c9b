/** Groups say of two networks what `mayTalk` says, whatever the rules, and are as few as can be. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { seedAssignment } from "../../../test/support/seed-cluster.ts";
import { cidr, nthSubnet } from "../../model/ip.ts";
import { mayTalk, type NetworkRules } from "../../model/isolation.ts";
import { type Groups, groupsOf } from "./groups.ts";

/** One whose name nobody has is in lists as well: of a network that is gone, or is to come. */
const NAMES = ["a", "b", "c", "d", "e", "f", "g", "h"] as const;

const anyIsolation = fc.oneof(
  { weight: 3, arbitrary: fc.constant(undefined) },
  { weight: 1, arbitrary: fc.constant("closed" as const) },
  { weight: 3, arbitrary: fc.subarray([...NAMES, "nobody"]).map((allow) => ({ allow })) },
);

/** Networks of both families, in any order; the prefixes of the second family are of other lengths. */
const anyNetworks = fc
  .tuple(fc.shuffledSubarray([...NAMES]), fc.array(anyIsolation, { minLength: NAMES.length, maxLength: NAMES.length }))
  .map(([names, isolations]) =>
    names.map((name, i): NetworkRules => {
      const prefixes = [nthSubnet(cidr("10.0.0.0/8"), 12 + i, 1n), nthSubnet(cidr("fd00::/32"), 48 + i, 3n)];
      const isolation = isolations[i];
      return { name, prefixes, ...(isolation !== undefined && { isolation }) };
    }),
  );

const groupsAmong = (networks: readonly NetworkRules[]): Groups => groupsOf({ ...seedAssignment(1), networks });

/** As the programs decide. */
function doTalk({ talks }: Groups, from: number, to: number): boolean {
  return from === to || talks.some(([a, b]) => a === from && b === to);
}

test("two networks' groups are equal or talk exactly when the networks may talk", () => {
  fc.assert(
    fc.property(anyNetworks, (networks) => {
      const groups = groupsAmong(networks);
      for (const a of networks)
        for (const b of networks)
          assert.equal(
            doTalk(groups, groups.ofNetwork(a.name), groups.ofNetwork(b.name)),
            mayTalk(a, b),
            `${a.name} and ${b.name}`,
          );
    }),
  );
});

test("a prefix of a network is of the network's group, a part of it too, and what lies elsewhere is of group 0", () => {
  fc.assert(
    fc.property(anyNetworks, fc.bigInt({ min: 0n, max: 15n }), (networks, part) => {
      const groups = groupsAmong(networks);
      for (const { name, prefixes } of networks)
        for (const prefix of prefixes) {
          assert.equal(groups.ofPrefix(prefix), groups.ofNetwork(name));
          const length = Number(prefix.slice(prefix.indexOf("/") + 1)) + 4;
          assert.equal(groups.ofPrefix(nthSubnet(prefix, length, part)), groups.ofNetwork(name));
        }
      for (const elsewhere of ["11.0.0.0/24", "fe00::/64", "0.0.0.0/1"])
        assert.equal(groups.ofPrefix(cidr(elsewhere)), 0);
    }),
  );
});

test("of a prefix inside of another the longer one's network says whose it is", () => {
  const wide: NetworkRules = { name: "wide", prefixes: [cidr("9.0.0.0/8")] };
  const inner: NetworkRules = { name: "inner", prefixes: [cidr("9.7.0.0/16")], isolation: "closed" };
  const groups = groupsAmong([wide, inner]);
  const closed = groups.ofNetwork("inner");
  assert.notEqual(closed, 0);
  assert.deepEqual(
    ["9.7.1.0/24", "9.7.0.0/16", "9.6.0.0/24", "9.0.0.0/8"].map((text) => groups.ofPrefix(cidr(text))),
    [closed, closed, 0, 0],
  );
});

test("networks that are alike in whom they talk to are one group, and no pair is told that needs none", () => {
  fc.assert(
    fc.property(anyNetworks, (networks) => {
      const groups = groupsAmong(networks);
      const whom = (a: NetworkRules) => networks.filter((b) => mayTalk(a, b)).map(({ name }) => name);
      const open = networks.filter(({ isolation }) => isolation === undefined);
      for (const a of open)
        for (const b of open)
          assert.equal(
            groups.ofNetwork(a.name) === groups.ofNetwork(b.name),
            whom(a).join() === whom(b).join(),
            `${a.name} and ${b.name}`,
          );
      const used = new Set([...networks.map(({ name }) => groups.ofNetwork(name)), 0]);
      for (const [from, to] of groups.talks) assert.ok(from !== to && used.has(from) && used.has(to), `${from} ${to}`);
      assert.ok(
        [...used].every((number) => number >>> 0 === number),
        "32 bits hold each of them",
      );
    }),
  );
});

/** What a network's number has to stand for, once and for all. */
function wordsOf(network: NetworkRules, networks: readonly NetworkRules[]): string {
  if (network.isolation !== undefined) return `only ${network.name}`;
  const friends = networks.filter((other) => other.isolation !== undefined && mayTalk(network, other));
  return `open to ${friends
    .map(({ name }) => name)
    .toSorted()
    .join()}`;
}

test("a number means the same among any networks, so that what was written at different times can be in one map", () => {
  fc.assert(
    fc.property(anyNetworks, anyNetworks, (before, after) => {
      const [old, now] = [groupsAmong(before), groupsAmong(after)];
      for (const a of before)
        for (const b of after)
          assert.equal(
            old.ofNetwork(a.name) === now.ofNetwork(b.name),
            wordsOf(a, before) === wordsOf(b, after),
            `${a.name} before and ${b.name} after`,
          );
      // Nobody's number is that of open networks that nobody restricted lets in.
      for (const network of [...before, ...after]) {
        const [groups, all] = before.includes(network) ? [old, before] : [now, after];
        assert.equal(groups.ofNetwork(network.name) === 0, wordsOf(network, all) === "open to ", network.name);
      }
    }),
  );
});

test("numbers are those that they always were: other versions of the agent wrote some of them", () => {
  const groups = groupsAmong([
    { name: "dcos", prefixes: [] },
    { name: "lab", prefixes: [], isolation: { allow: ["web", "db"] } },
    { name: "db", prefixes: [], isolation: { allow: ["web", "lab"] } },
    { name: "web", prefixes: [] },
  ]);
  // printf '= lab' | sha256sum, and so `= db` and `db,lab`: the first four bytes, the lowest first.
  assert.deepEqual(
    ["dcos", "lab", "db", "web"].map((name) => groups.ofNetwork(name)),
    [0, 896341445, 276384902, 4021328417],
  );
});

test("two groups that have one number by chance are told of, and nobody else is", () => {
  const closed = (name: string, i: number): NetworkRules => {
    return { name, prefixes: [nthSubnet(cidr("10.0.0.0/8"), 16, BigInt(i))], isolation: "closed" };
  };
  // The first two of `net0`, `net1`, ... whose digests begin alike.
  const alike = groupsAmong(["net6866", "net100919"].map(closed));
  assert.equal(alike.ofNetwork("net6866"), alike.ofNetwork("net100919"));
  assert.equal(alike.isAmbiguous, true);
  assert.equal(groupsAmong(["net6866", "net100918"].map(closed)).isAmbiguous, false);
  fc.assert(fc.property(anyNetworks, (networks) => !groupsAmong(networks).isAmbiguous));
});

test("without rules all is group 0, and whoever is in no network is not let into a restricted one", () => {
  const { networks: _, ...assignment } = seedAssignment(1);
  const open = groupsOf(assignment);
  assert.deepEqual([open.ofPrefix(cidr("9.0.2.0/24")), open.ofNetwork("dcos"), open.talks], [0, 0, []]);
  assert.equal(open.isAmbiguous, false);
  const groups = groupsAmong([{ name: "lab", prefixes: [cidr("10.8.0.0/16")], isolation: { allow: ["nobody"] } }]);
  assert.equal(doTalk(groups, groups.ofPrefix(cidr("9.0.2.0/24")), groups.ofPrefix(cidr("10.8.0.0/16"))), false);
  assert.equal(doTalk(groups, groups.ofNetwork("nobody"), groups.ofNetwork("lab")), false);
});

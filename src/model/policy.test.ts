import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Attachment } from "./attachment.ts";
import { cidr, ip } from "./ip.ts";
import { POLICY_MEMBERS_TOLD_MAX, POLICY_MEMBERS_TOLD_MAX_BYTES } from "./limits.ts";
import { type Policy, type PolicyMember, selects } from "./policy.ts";
import { decodeMembers, encodeMembers, policyMembers } from "./policy-members.ts";
import { parsePolicyPorts, parseSelector, policyPortsText, selectorText } from "./policy-text.ts";

const WEB: PolicyMember = { network: "dcos", labels: { app: "web" }, addresses: [ip("9.0.1.2"), ip("fd01:b::2")] };
const POLICY: Policy = { name: "p", from: { app: "web" }, to: { app: "db", tier: "1" }, ports: [] };

test("all labels of a selector must be there, with their values, and the network must be the one", () => {
  assert.ok(selects({ app: "web" }, {}, WEB));
  assert.ok(selects({ app: "web" }, { network: "dcos" }, WEB));
  assert.ok(!selects({ app: "web" }, { network: "other" }, WEB));
  assert.ok(!selects({ app: "web", tier: "1" }, {}, WEB));
  assert.ok(!selects({ app: "db" }, {}, WEB));
  assert.ok(!selects({ toString: "web" }, {}, WEB));
});

test("selectors and ports as text", () => {
  assert.deepEqual(parseSelector("app=web, tier=1"), { app: "web", tier: "1" });
  assert.deepEqual(parseSelector("a=b=c"), { a: "b=c" });
  for (const wrong of ["", "app", "=web", "a=b,", "a=b,a=c"]) assert.equal(parseSelector(wrong), undefined, wrong);
  assert.deepEqual(parsePolicyPorts("tcp/80,udp/53-54"), [
    { protocol: "tcp", first: 80, last: 80 },
    { protocol: "udp", first: 53, last: 54 },
  ]);
  for (const wrong of ["", "80", "tcp/0", "tcp/65536", "tcp/2-1", "icmp/8", "tcp/80,"])
    assert.equal(parsePolicyPorts(wrong), undefined, wrong);
  for (const text of ["tcp/80", "tcp/80,udp/53-54"]) assert.equal(policyPortsText(parsePolicyPorts(text) ?? []), text);
  assert.equal(selectorText({ app: "web", tier: "1" }), "app=web,tier=1");
});

test("what policies do not ask for is not told", () => {
  const attachment = {
    network: "dcos",
    ip: ip("9.0.1.2"),
    labels: { app: "web", owner: "me" },
  } as unknown as Attachment;
  assert.deepEqual(policyMembers([attachment], [POLICY]), [{ ...WEB, addresses: [ip("9.0.1.2")] }]);
  assert.deepEqual(policyMembers([attachment], []), []);
  assert.deepEqual(policyMembers([{ ...attachment, labels: { owner: "me" } }], [POLICY]), []);
});

test("what is told is bounded, and believed only of addresses that the cluster gave who tells", () => {
  assert.equal(encodeMembers([]), undefined);
  const told = encodeMembers([WEB]) as Uint8Array;
  assert.deepEqual(decodeMembers(told, [cidr("9.0.1.0/24"), cidr("fd01:b::/80")]), [WEB]);
  assert.deepEqual(decodeMembers(told, [cidr("9.0.1.0/24")]), [{ ...WEB, addresses: [ip("9.0.1.2")] }]);
  assert.deepEqual(decodeMembers(told, [cidr("9.0.2.0/24")]), [{ ...WEB, addresses: [] }]);
  const many = encodeMembers(Array.from({ length: POLICY_MEMBERS_TOLD_MAX + 1 }, () => WEB)) as Uint8Array;
  assert.ok(many.length <= POLICY_MEMBERS_TOLD_MAX_BYTES);
  assert.equal(decodeMembers(many, []).length, POLICY_MEMBERS_TOLD_MAX);
  const large = { ...WEB, labels: { app: "x".repeat(1_000) } };
  assert.ok((encodeMembers(Array.from({ length: 900 }, () => large))?.length ?? 0) <= POLICY_MEMBERS_TOLD_MAX_BYTES);
  fc.assert(fc.property(fc.uint8Array(), (noise) => assert.deepEqual(decodeMembers(noise, []), [])));
  fc.assert(fc.property(fc.json(), (noise) => void decodeMembers(Buffer.from(noise), [])));
});

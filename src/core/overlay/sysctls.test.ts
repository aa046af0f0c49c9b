/**
 * Where IPv4 is forwarded: by which devices, on a host that forwards nothing yet and on one that forwards all.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { BARE_HOST, SEED_ATTACHMENT, seedInput } from "../../../test/support/seed-cluster.ts";
import { attachOps } from "./attach.ts";
import { desiredHost, sysctlPaths } from "./desired.ts";

const OURS = ["vtep1024", SEED_ATTACHMENT.hostIfname];
const input = { ...seedInput(1), attachments: [SEED_ATTACHMENT] };

/** The devices that are to forward, on a host where these sysctls were read besides. */
function forwarders(more: Readonly<Record<string, string>> = {}): string[] {
  const read = new Map(BARE_HOST.sysctls.map(({ path, value }) => [path, value]));
  for (const [path, value] of Object.entries(more)) read.set(path, value);
  const observed = { ...BARE_HOST, sysctls: [...read].map(([path, value]) => ({ path, value })) };
  return desiredHost({ ...input, observed }).sysctls.flatMap(({ path, value }) => {
    assert.notEqual(path, "net/ipv4/ip_forward");
    return value === "1" ? (/^net\/ipv4\/conf\/(.*)\/forwarding$/.exec(path)?.[1] ?? []) : [];
  });
}

test("where nothing is forwarded: ours, the devices that lead here, and those that are made later", () => {
  assert.deepEqual(forwarders(), ["default", "eth0", ...OURS]);
});

test("where all is forwarded already only ours are looked after", () => {
  assert.deepEqual(forwarders({ "net/ipv4/ip_forward": "1" }), OURS);
});

test("all that is decided by, or decided, is read", () => {
  const paths = sysctlPaths(input);
  assert.ok(paths.includes("net/ipv4/ip_forward"));
  for (const dev of ["default", "eth0", ...OURS]) assert.ok(paths.includes(`net/ipv4/conf/${dev}/forwarding`), dev);
});

test("attaching writes none: a device is born with the word of all later ones", () => {
  assert.doesNotMatch(JSON.stringify(attachOps(SEED_ATTACHMENT, [], input)), /forwarding/);
});

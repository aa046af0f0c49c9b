/**
 * Rules of ours beside those that iptables writes: each program reads what the other wrote, and what iptables saves and
 * restores is ours again. In a network namespace of the test's own.
 */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { diff } from "../../src/core/host/diff.ts";
import { EMPTY_HOST_STATE, type KernelOp } from "../../src/core/host/host-state.ts";
import { readFacts } from "../../src/core/overlay/facts.ts";
import { passages } from "../../src/core/overlay/passages.ts";
import { ip } from "../../src/model/ip.ts";
import { applyAll } from "../support/kernel-objects.ts";
import { labOrReason } from "../support/lab.ts";
import { openTestNetns, type TestNetns } from "../support/netns.ts";
import { seedContext } from "../support/seed-cluster.ts";

const skip = await labOrReason();

/** What Docker writes, and a rule of the administrator's. */
const DOCKER = `*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-USER -s 192.0.2.0/24 -m comment --comment "not from there" -j DROP
-A DOCKER-USER -j RETURN
COMMIT
`;
const OURS = [
  "-A DOCKER-USER -o weft+ -m comment --comment weft -j ACCEPT",
  "-A DOCKER-USER -i weft+ -o vtep1024 -m comment --comment weft -j ACCEPT",
  "-A DOCKER-USER -i weft+ -o eth0 -m comment --comment weft -j ACCEPT",
];

async function openFirewall(t: TestContext) {
  const netns = await openTestNetns(t);
  restore(netns, DOCKER);
  const want = async (): Promise<KernelOp[]> => {
    const observed = await netns.kernel.observe([]);
    return diff(observed, { ...EMPTY_HOST_STATE, passages: passages(seedContext(1), observed.passages) });
  };
  const pass = async () => applyAll(netns.kernel, await want());
  const users = () => netns.run("iptables", "-S", "DOCKER-USER").trim().split("\n").slice(1);
  return { ...netns, want, pass, users };
}

function restore({ run }: Pick<TestNetns, "run">, rules: string): void {
  run("sh", "-c", 'printf "%s" "$0" | iptables-restore', rules);
}

test("iptables shows our rules, and goes on working on its own", { skip }, async (t) => {
  const { pass, run, users, want } = await openFirewall(t);
  const before = users();
  await pass();
  assert.deepEqual(users(), [...OURS, ...before]);
  assert.match(run("nft", "list", "table", "ip", "filter"), /oifname "weft\*" counter .* accept comment "weft"/);
  // Docker's own calls: is the rule there, delete it, put it first.
  run("iptables", "-C", "FORWARD", "-j", "DOCKER-USER");
  run("iptables", "-D", "FORWARD", "-j", "DOCKER-USER");
  run("iptables", "-I", "FORWARD", "-j", "DOCKER-USER");
  run("iptables", "-C", "DOCKER-USER", "-j", "RETURN");
  assert.deepEqual(await want(), []);
});

test("what is saved and restored is ours again, and stays one set", { skip }, async (t) => {
  const firewall = await openFirewall(t);
  const { kernel, pass, run, users, want } = firewall;
  const before = users();
  await pass();
  restore(firewall, run("iptables-save"));
  assert.deepEqual(await want(), []);
  run("iptables", "-I", "DOCKER-USER", "-i", "weft+", "-j", "ACCEPT");
  await pass();
  assert.deepEqual(users(), [...OURS, "-A DOCKER-USER -i weft+ -j ACCEPT", ...before]);
  await applyAll(kernel, diff(await kernel.observe([]), EMPTY_HOST_STATE));
  assert.deepEqual(users(), ["-A DOCKER-USER -i weft+ -j ACCEPT", ...before]);
});

test("every way to reload a firewall is mended, and a firewall without Docker's chain is left alone", {
  skip,
}, async (t) => {
  const firewall = await openFirewall(t);
  const { pass, run, users, want } = firewall;
  for (const reload of [
    () => run("iptables", "-F", "DOCKER-USER"),
    () => run("nft", "flush", "chain", "ip", "filter", "DOCKER-USER"),
    () => restore(firewall, DOCKER),
  ]) {
    await pass();
    reload();
    assert.notDeepEqual(await want(), []);
    await pass();
    assert.deepEqual(users().slice(0, OURS.length), OURS);
    assert.deepEqual(await want(), []);
  }
  run("iptables", "-F");
  await pass();
  const inForward = OURS.map((rule) => rule.replace("DOCKER-USER", "FORWARD"));
  assert.deepEqual(run("iptables", "-S", "FORWARD").trim().split("\n"), ["-P FORWARD DROP", ...inForward]);
  run("iptables", "-X", "DOCKER-USER");
  await pass();
  assert.equal(run("iptables", "-S", "FORWARD"), "-P FORWARD DROP\n");
});

test("a device that leads away is no bridge, no port of one, and no end of a pair, unless it is the underlay", {
  skip,
}, async (t) => {
  const { kernel, run } = await openTestNetns(t);
  for (const name of ["eth0", "eth1", "tap0"]) run("ip", "tuntap", "add", name, "mode", "tap");
  for (const link of [
    "add docker0 type bridge",
    "add veth1 type veth peer name veth2",
    "add flannel.1 type vxlan id 7 dstport 8472",
    "set tap0 master docker0",
  ])
    run("ip", "link", ...link.split(" "));
  run("ip", "address", "add", "10.0.0.1/24", "dev", "eth0");
  run("ip", "address", "add", "10.0.1.1/24", "dev", "docker0");
  const uplinks = async (underlay: string) => readFacts(await kernel.observe([]), ip(underlay)).uplinks;
  assert.deepEqual(await uplinks("10.0.0.1"), ["eth0", "eth1"]);
  assert.deepEqual(await uplinks("10.0.1.1"), ["eth0", "eth1", "docker0"]);
});

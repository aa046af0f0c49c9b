/**
 * Reserved addresses at one agent, on the fake kernel: one of another's slice is attached with a gateway of this host, it
 * comes back with its name, and is cut off when the cluster gives it to another agent.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeAttachRig } from "../../../test/support/attach-rig.ts";
import type { TestCall } from "../../../test/support/cni.ts";
import { SILENT_LOG } from "../../io/log.ts";
import type { Assignment, Peer } from "../../model/cluster.ts";
import { Fault } from "../../model/fault.ts";
import { cidr, ip } from "../../model/ip.ts";
import { CLAIM_WAIT_MS } from "../../model/limits.ts";
import { ClaimBook, type Wanted } from "./claim-book.ts";

const C1 = "/run/netns/c1";
const C2 = "/run/netns/c2";
const NEAR = ip("10.8.0.4");
const FAR = ip("10.8.7.5");
const FAR6 = ip("fd01:c:0:0:7::5");
const ADD: TestCall = {
  ...{ command: "ADD", containerId: "c1", netns: C1, network: "both", requestId: "r1" },
  environment: { CNI_ARGS: "IgnoreUnknown=1;K8S_POD_NAME=web" },
};
const del = (call: TestCall): TestCall => ({ ...call, command: "DEL" });

/** A rig whose agent asks a master that gives everything; `asked` is what it was asked for. */
async function reserving(...addresses: string[]) {
  const rig = await FakeAttachRig.open(C1, C2);
  const asked: Wanted[] = [];
  let assignment: Assignment = {
    ...rig.context.assignment,
    reservations: [{ network: "both", name: "web", addresses: addresses.map(ip) }],
  };
  const take = (change: Partial<Assignment>) => {
    assignment = { ...assignment, ...change };
    rig.context.assignment = assignment;
  };
  take({});
  const book: ClaimBook = new ClaimBook({
    ...{ clock: rig.clock, log: { ...SILENT_LOG, error: (_, message) => rig.warnings.push(message) } },
    ask: async (wanted) => {
      asked.push(wanted);
      const [address = FAR] = wanted.addresses;
      const claim = { network: "both", name: "web", address, revision: asked.length };
      take({ hosted: [...(assignment.hosted ?? []), claim] });
      queueMicrotask(() => book.programmed());
      return [claim];
    },
  });
  rig.claims = {
    hosting: () => book.hosting(assignment),
    claim: (wanted, deadline) => book.claim(wanted, deadline),
    lostTo: (lease) => book.lostTo(lease, assignment),
  };
  return { rig, book, asked, take, now: () => assignment };
}

async function addresses(rig: FakeAttachRig, call: TestCall): Promise<unknown> {
  const { status, json } = await rig.call(call);
  return status === 200 ? json.ips : json.msg;
}

const peerWith = (revision: number): Peer =>
  ({ id: "agent-9", subnets: [cidr("10.8.9.0/28")], hosted: [{ address: FAR, revision }] }) as unknown as Peer;

test("one of the own slice is given without asking anybody, and at once again", async () => {
  const { rig, asked } = await reserving(NEAR);
  for (const round of [1, 2, 3]) {
    const ips = (await addresses(rig, { ...ADD, requestId: `r${round}` })) as { address: string }[];
    assert.equal(ips[0]?.address, `${NEAR}/32`);
    assert.equal((await rig.call(del(ADD))).status, 200);
  }
  assert.deepEqual(asked, []);
});

test("one of another's slice is asked for once, has a gateway of this host, and comes back without asking", async () => {
  const { rig, asked } = await reserving(FAR, FAR6);
  const ips = await addresses(rig, ADD);
  assert.deepEqual(ips, [
    { interface: 1, address: `${FAR}/32`, gateway: "10.8.0.1" },
    { interface: 1, address: `${FAR6}/128`, gateway: "fd01:c::1" },
  ]);
  assert.deepEqual(
    asked.map(({ addresses }) => addresses),
    [[FAR], [FAR6]],
  );
  await rig.pass();
  const dump = await rig.dump(C1);
  for (const line of [`route ${FAR}/32 dev weft`, "route 0.0.0.0/0 via 10.8.0.1 dev eth0"])
    assert.ok(dump.includes(line), dump);
  assert.equal((await rig.call(del(ADD))).status, 200);
  rig.restart();
  assert.deepEqual(await addresses(rig, { ...ADD, requestId: "r2" }), ips);
  assert.equal(asked.length, 2);
});

test("who comes with another name, or with none, gets the next free ones", async () => {
  const { rig, asked } = await reserving("10.8.0.2", FAR);
  const plain = { ...ADD, environment: {} };
  assert.equal(((await addresses(rig, plain)) as { address: string }[])[0]?.address, "10.8.0.3/32");
  const other = { ...ADD, containerId: "c2", netns: C2, environment: { CNI_ARGS: "K8S_POD_NAME=web-2" } };
  assert.equal(((await addresses(rig, other)) as { address: string }[])[0]?.address, "10.8.0.4/32");
  assert.deepEqual(asked, []);
});

test("a master that refuses, one that does not answer, and a word that does not come", async () => {
  const { rig, book, now } = await reserving(FAR);
  const answers = async (ask: (wanted: Wanted) => Promise<never[]>) => {
    const deaf = new ClaimBook({ clock: rig.clock, log: SILENT_LOG, ask });
    rig.claims = { ...rig.claims, claim: (wanted, deadline) => deaf.claim(wanted, deadline) };
    return addresses(rig, ADD);
  };
  const refuse = (code: "address-taken" | "not-ready", message: string) => async () => {
    throw new Fault(code, message);
  };
  assert.match(String(await answers(refuse("address-taken", "it is held by c7 of agent-3"))), /held by c7 of agent-3/);
  assert.match(
    String(await answers(refuse("not-ready", "no master answers"))),
    /10\.8\.7\.5 is reserved for web, and lies or is hosted on another agent; .*; no master answers/,
  );
  const late = answers(async () => []);
  for (let i = 0; i < 10; i++) {
    await new Promise((resolve) => setImmediate(resolve));
    rig.clock.advance(CLAIM_WAIT_MS);
  }
  assert.match(String(await late), /is reserved for web, and lies or is hosted on another agent/);
  assert.deepEqual(rig.store.leases(), [], "nothing is left of the calls");
  assert.equal(book.hosting(now()).size, 0);
});

test("a newer word of the cluster for another agent cuts the container off; an older one, or one seen before, does not", async () => {
  const { rig, book, asked, now } = await reserving(FAR);
  await addresses(rig, ADD);
  await addresses(rig, { ...ADD, containerId: "c2", netns: C2, environment: {} });
  const cut = async (peer: Peer) => {
    const isNews = book.peerIs(peer.id, peer);
    await rig.service.repair(await rig.kernel.observe([]));
    return isNews;
  };
  // The own one has revision 1.
  assert.equal(await cut({ ...peerWith(1), hosted: [] }), true);
  assert.equal(rig.service.leases().length, 2);
  assert.equal(book.isOutdated(now()), false);
  assert.equal(await cut(peerWith(5)), true);
  assert.deepEqual(
    rig.service.leases().map(({ containerId }) => containerId),
    ["c2"],
  );
  assert.ok(rig.warnings.includes(`cut off: its address ${FAR} is hosted by agent agent-9 now`), rig.warnings.join());
  assert.equal(book.isOutdated(now()), true, "newer papers are there to be had");
  assert.equal((await rig.call(del(ADD))).status, 200, "DEL finds nothing, which is success");
  // Its agent is gone, and the word that was overtaken is none again.
  book.peerIs("agent-9", undefined);
  assert.equal(book.hosting(now()).size, 0);
  assert.equal(asked.length, 1);
});

test("an assignment in which this host hosts the address no more cuts the container off, and says so", async () => {
  const { rig, take, now } = await reserving(FAR);
  await addresses(rig, ADD);
  await addresses(rig, { ...ADD, containerId: "c2", netns: C2, environment: {} });
  const comes = async (change: Partial<Assignment>) => {
    const before = now();
    take(change);
    rig.service.reassigned(now(), before);
    await rig.service.repair(await rig.kernel.observe([]));
    return rig.service.leases().map(({ containerId }) => containerId);
  };
  assert.deepEqual(await comes({ overlayMtu: 1400 }), ["c1", "c2"]);
  assert.deepEqual([await comes({ hosted: [] }), await comes({ overlayMtu: 1420 })], [["c2"], ["c2"]]);
  assert.deepEqual(rig.warnings, [
    `cut off: this host does not have all of ${FAR}, fd01:c::2 in network both any more`,
  ]);
});

test("what containers have is told by name, and what another name had before is logged once", async () => {
  const { rig, book, take, now } = await reserving(NEAR);
  await addresses(rig, ADD);
  const use = { address: NEAR, containerId: "c1", name: "web" };
  assert.deepEqual(book.uses(now(), rig.service.leases())("both"), [use]);
  assert.deepEqual(book.uses(now(), rig.service.leases())("dcos"), []);
  assert.deepEqual(rig.warnings, []);
  take({ reservations: [{ network: "both", name: "db", addresses: [NEAR] }] });
  for (let i = 0; i < 3; i++) assert.deepEqual(book.uses(now(), rig.service.leases())("both"), [use]);
  assert.deepEqual(rig.warnings, [`${NEAR} is reserved for db, and container c1 had it before; end that one`]);
});

test("what weft-ipam gave is told at once, stays held when another agent hosts it, and that is said once", async () => {
  const { rig, book, asked, now } = await reserving(NEAR);
  const lone: TestCall = { ...ADD, environment: { ...ADD.environment, CNI_WEFT_PLUGIN: "weft-ipam" } };
  await addresses(rig, lone);
  assert.equal(rig.passesAsked, 1, "the master is told with the next report, not some time later");
  const uses = () =>
    book
      .uses(
        now(),
        rig.service.leases(),
      )("both")
      .map(({ containerId }) => containerId);
  assert.deepEqual([uses(), rig.warnings], [["c1"], []]);
  book.peerIs("agent-9", { ...peerWith(5), hosted: [{ address: NEAR, revision: 5 }] });
  for (let i = 0; i < 2; i++) {
    await rig.service.repair(await rig.kernel.observe([]));
    assert.deepEqual(uses(), ["c1"], "its container still has it");
  }
  assert.deepEqual(rig.warnings, [
    `${NEAR} is hosted by agent agent-9 now, and container c1, whose device another plugin made, has it too; end that one`,
  ]);
  // It comes back to this host, where its holder is still there.
  book.peerIs("agent-9", undefined);
  assert.match(String(await addresses(rig, { ...ADD, containerId: "c2", netns: C2 })), /taken by container c1; end/);
  assert.equal(asked.length, 0);
});

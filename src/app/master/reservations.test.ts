/**
 * Reserved addresses at the master, over its own interface: what may be reserved, what agents are told of it, and to which
 * agent the cluster's word gives an address.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { MasterRig, request } from "../../../test/support/master-rig.ts";
import { verifySignature } from "../../io/crypto/keys.ts";
import { ip } from "../../model/ip.ts";
import { HOSTED_MAX, RESERVED_USES_TOLD_MAX } from "../../model/limits.ts";
import type { ReservedUse } from "../../model/reservation.ts";
import { verifyAssignmentStatement } from "../../model/trust/assignment-statement.ts";
import { reservationsTable } from "../cli/reserve-command.ts";
import { reservationsSchema } from "./reservation-routes.ts";
import { ATTENDANCE_GRACE_MS } from "./sightings.ts";

const CONFIG = `
dcos_overlay_network:
  vtep_subnet: 44.128.0.0/20
  vtep_mac_oui: 70:B3:D5:00:00:00
  overlays:
    - { name: dcos, subnet: 9.0.0.0/8, prefix: 24 }
    - { name: lan, subnet: 10.8.0.0/16, prefix: 24 }
`;

class Rig extends MasterRig {
  constructor() {
    super(CONFIG);
  }

  async reserve(name: string, addresses: readonly string[], network = "dcos", path = name): Promise<string> {
    const body = { reservation: { network, name, addresses } };
    const answer = await this.call("PUT", `/v1/reservations/${network}/${path}`, body, true);
    return answer.status === 200 ? "" : `${answer.status} ${await answer.text()}`;
  }

  async remove(name: string): Promise<string> {
    const answer = await this.call("DELETE", `/v1/reservations/dcos/${name}`, undefined, true);
    return answer.status === 200 ? "" : `${answer.status} ${await answer.text()}`;
  }

  /** What agent `n` gets of these, or how it is refused. */
  async claim(n: number, name: string, ...addresses: string[]): Promise<string> {
    const { agentId, instanceId } = request(n);
    const body = { agentId, instanceId, network: "dcos", name, addresses };
    const answer = await this.callAs(agentId, "POST", `/v1/agents/${agentId}/claims`, body);
    const text = await answer.text();
    if (answer.status !== 200) return text;
    const { claims } = JSON.parse(text) as { claims: { address: string; revision: number }[] };
    return claims.map(({ address, revision }) => `${address} ${revision}`).join();
  }

  async tell(n: number, reserved: readonly Partial<ReservedUse>[]): Promise<void> {
    const { agentId, instanceId } = request(n);
    const body = { agentId, instanceId, overlays: [{ name: "dcos", status: "STATUS_OK", reserved }] };
    const answer = await this.callAs(agentId, "POST", `/v1/agents/${agentId}/status`, body);
    assert.equal(answer.status, 200, await answer.text());
  }

  /** What the cluster signs of what agent `n` hosts. */
  async signed(n: number): Promise<unknown> {
    const { membership } = await this.admission(request(n));
    const said = verifyAssignmentStatement(membership.statement, membership.clusterKey, verifySignature);
    return said?.peer.hosted;
  }
}

test("what can be reserved, and what is said of the rest", async () => {
  const rig = new Rig();
  assert.equal(await rig.reserve("web", ["9.0.1.77", "9.0.1.78"]), "");
  assert.equal(await rig.reserve("web", ["9.0.1.77"]), "", "other addresses than before");
  const rows: readonly [refusal: Promise<string>, problem: RegExp][] = [
    [rig.reserve("db", ["9.0.1.77"]), /address-taken.*9\.0\.1\.77 is reserved for web in network dcos already/],
    [rig.reserve("db", ["9.0.1.77"], "lan"), /lies in no address space of network lan/],
    [rig.reserve("db", ["9.0.1.1"]), /gateway's/],
    [rig.reserve("db", ["9.0.1.5"], "nope"), /unknown-network/],
    [rig.reserve("db", ["9.0.1.5"], "dcos", "other"), /the reservation is for dcos\/db, the call for dcos\/other/],
    [rig.reserve("db", []), /addresses/],
    [rig.reserve("a_b!", ["9.0.1.5"]), /name: is not letters/],
    [rig.remove("db"), /nothing is reserved for db in network dcos; 'weft reservations'/],
  ];
  for (const [refusal, problem] of rows) assert.match(await refusal, problem);
  const body = { reservation: { network: "dcos", name: "db", addresses: ["9.0.1.5"] } };
  assert.equal((await rig.call("PUT", "/v1/reservations/dcos/db", body)).status, 403, "operators alone");
  rig.restart(CONFIG);
  assert.deepEqual(rig.cluster.reservations.list(), [{ network: "dcos", name: "web", addresses: ["9.0.1.77"] }]);
  assert.equal(await rig.remove("web"), "");
  rig.restart(CONFIG);
  assert.deepEqual(rig.cluster.reservations.list(), []);
});

test("agents come for what is reserved, and are told of their own networks", async () => {
  const rig = new Rig();
  const before = await rig.register(request(1));
  assert.deepEqual([before.reservations, before.hosted], [undefined, undefined]);
  const { announcements } = rig;
  await rig.reserve("web", ["9.0.0.77"]);
  assert.equal(rig.announcements, announcements + 1);
  const web = { network: "dcos", name: "web", addresses: ["9.0.0.77"] };
  assert.deepEqual((await rig.register(request(1))).reservations, [web]);
  const none = request(2, { networkConfig: { allocateSubnet: false, mesosBridge: false, dockerBridge: false } });
  assert.ok((await rig.register(none)).reservations?.length === 1, "to believe what peers host");
});

test("a claim moves an address by a newer word, which is signed and outlives the master", async () => {
  const rig = new Rig();
  for (const n of [1, 2, 3]) await rig.register(request(n));
  await rig.reserve("web", ["9.0.0.77"]);
  assert.equal(await rig.claim(2, "web", "9.0.0.77"), "9.0.0.77 1");
  assert.equal(await rig.claim(2, "web", "9.0.0.77"), "9.0.0.77 1", "it has it");
  assert.deepEqual(await rig.signed(2), [{ address: "9.0.0.77", revision: 1 }]);
  const { hosted } = await rig.register(request(2));
  assert.deepEqual(hosted, [{ network: "dcos", name: "web", address: "9.0.0.77", revision: 1 }]);
  assert.equal(await rig.claim(1, "web", "9.0.0.77"), "9.0.0.77 2");
  rig.restart(CONFIG);
  assert.deepEqual([await rig.signed(1), await rig.signed(2)], [[{ address: "9.0.0.77", revision: 2 }], undefined]);
  rig.connect(request(1))();
  rig.cluster.delete(["agent-1"], "test");
  assert.deepEqual(rig.cluster.reservations.hostedBy("agent-1"), []);
  assert.equal(await rig.claim(2, "web", "9.0.0.77"), "9.0.0.77 3", "no revision is given twice");
  await rig.tell(2, []);
  assert.equal(await rig.remove("web"), "");
  assert.equal(await rig.signed(2), undefined);
  await rig.reserve("web", ["9.0.0.77"]);
  assert.equal(await rig.claim(2, "web", "9.0.0.77"), "9.0.0.77 4");
  rig.newestClaim = 9;
  assert.equal(await rig.claim(3, "web", "9.0.0.77"), "9.0.0.77 10", "the store is an older one, gossip is not");
});

test("what a container has elsewhere stays there; of a range another one is given", async () => {
  const rig = new Rig();
  for (const n of [1, 2, 3]) await rig.register(request(n));
  const [, disconnect] = [1, 2, 3].map((n) => rig.connect(request(n)));
  await rig.reserve("web", ["9.0.0.77", "9.0.0.78"]);
  assert.equal(await rig.claim(2, "web", "9.0.0.77", "9.0.0.78"), "9.0.0.77 1");
  await rig.tell(2, [{ address: "9.0.0.77" as never, containerId: "c2", name: "web" }]);
  assert.equal(await rig.claim(3, "web", "9.0.0.77", "9.0.0.78"), "9.0.0.78 2");
  assert.match(
    await rig.claim(3, "web", "9.0.0.77"),
    /address-taken.*held: 9\.0\.0\.77 by container c2 \(web\) of agent agent-2/,
  );
  assert.match(await rig.remove("web"), /in-use.*held by container c2/);
  assert.match(await rig.reserve("web", ["9.0.0.78"]), /in-use/);
  // Of what is not its own an agent says nothing that counts.
  await rig.tell(1, [{ address: "9.0.0.78" as never, containerId: "liar", name: "web" }]);
  assert.equal(await rig.claim(2, "web", "9.0.0.78"), "9.0.0.77 1,9.0.0.78 3");
  disconnect?.();
  assert.equal(await rig.claim(3, "web", "9.0.0.77"), "9.0.0.77 4", "its agent is gone");
});

test("a master that begins gives away nothing that an agent may have which has not told it yet", async () => {
  const rig = new Rig();
  for (const n of [1, 2]) await rig.register(request(n));
  await rig.reserve("web", ["9.0.0.77", "9.0.0.78"]);
  await rig.reserve("far", ["9.0.9.9"]);
  rig.restart(CONFIG);
  const disconnect = rig.connect(request(2));
  const unknown = /in-use.*whether 9\.0\.0\.77 is in use is not known.*agent agent-1 .*try again/;
  const all = async () => [await rig.claim(2, "web", "9.0.0.77"), await rig.reserve("web", ["9.0.0.78"])];
  for (const refusal of [...(await all()), await rig.remove("web")]) assert.match(refusal, unknown);
  assert.equal(await rig.claim(2, "far", "9.0.9.9"), "9.0.9.9 1", "it is in nobody's slice");
  // It tells, and gossip tells of it only later.
  await rig.tell(1, [{ address: "9.0.0.77" as never, containerId: "c1", name: "web" }]);
  for (const refusal of await all()) assert.match(refusal, /held.* by container c1/);
  assert.equal(await rig.claim(2, "web", "9.0.0.77", "9.0.0.78"), "9.0.0.78 2", "the other one is free");
  rig.connect(request(1))();
  assert.equal(await rig.claim(2, "web", "9.0.0.77"), "9.0.0.77 3,9.0.0.78 2", "its agent is gone");

  // Now agent 2 hosts it, is there, and says nothing: no time makes that an answer. Of one that is gone it does.
  rig.restart(CONFIG);
  await rig.reserve("web", ["9.0.0.77", "9.0.0.78", "9.0.0.79"]);
  const again = rig.connect(request(2));
  rig.clock.advance(ATTENDANCE_GRACE_MS);
  assert.match(await rig.claim(1, "web", "9.0.0.77"), /in-use.*agent agent-2 /);
  assert.equal(await rig.claim(2, "web", "9.0.0.79"), "9.0.0.77 3,9.0.0.78 2,9.0.0.79 4", "agent 1 never came back");
  for (const end of [disconnect, again]) end();
  assert.match(await rig.claim(1, "web", "9.0.0.77"), /^9\.0\.0\.77 5$/);
});

test("an agent that tells as many uses as it can may have more: nothing of its own is taken for unused", async () => {
  const rig = new Rig();
  for (const n of [1, 2]) await rig.register(request(n));
  rig.connect(request(1));
  await rig.reserve("web", ["9.0.0.77", "9.0.7.7"]);
  const uses = Array.from({ length: RESERVED_USES_TOLD_MAX }, (_, i) => ({
    ...{ address: ip(`9.0.0.${(i % 64) + 2}`), containerId: `c${i}`, name: `n${i}` },
  }));
  const more = /in-use.*whether 9\.0\.0\.77 is in use is not known: agent agent-1 tells of 256 .*end some/;
  await rig.tell(1, uses);
  assert.match(await rig.claim(2, "web", "9.0.0.77"), more);
  assert.match(await rig.remove("web"), more);
  assert.equal(await rig.claim(2, "web", "9.0.0.77", "9.0.7.7"), "9.0.7.7 1", "which is not that agent's");
  await rig.tell(1, uses.slice(1));
  assert.equal(await rig.claim(2, "web", "9.0.0.77"), "9.0.0.77 2,9.0.7.7 1");
});

test("claims make room only when it is known that no container uses them", async () => {
  const rig = new Rig();
  for (const n of [1, 2]) await rig.register(request(n));
  const far = (i: number) => ip(`9.0.${7 + (i >> 6)}.${(i & 63) + 2}`);
  const claim = (i: number) =>
    rig.cluster.reservations.claim({ agentId: "agent-2", network: "dcos", name: `n${i}`, addresses: [far(i)] });
  for (let i = 0; i <= HOSTED_MAX; i++) assert.equal(await rig.reserve(`n${i}`, [far(i)]), "");
  for (let i = 0; i < HOSTED_MAX; i++) claim(i);
  rig.restart(CONFIG);
  assert.throws(() => claim(HOSTED_MAX), { code: "in-use", message: /whether 9\.0\.7\.2 is in use.*agent agent-2 / });
  const uses = Array.from({ length: HOSTED_MAX }, (_, i) => ({ address: far(i), containerId: `c${i}` }));
  await rig.tell(2, uses);
  assert.throws(() => claim(HOSTED_MAX), { code: "exhausted" });
  await rig.tell(2, uses.slice(1));
  assert.equal(claim(HOSTED_MAX).length, 1);
  assert.equal(rig.cluster.reservations.hostedBy("agent-2").length, HOSTED_MAX);
});

test("what an agent may not ask for", async () => {
  const rig = new Rig();
  for (const n of [1, 2]) await rig.register(request(n));
  await rig.reserve("web", ["9.0.0.77"]);
  await rig.reserve("db", ["9.0.0.78"]);
  assert.match(await rig.claim(1, "web", "9.0.0.78"), /bad-request.*9\.0\.0\.78 is not reserved for web/);
  assert.match(await rig.claim(1, "nobody", "9.0.0.77"), /bad-request/);
  assert.match(await rig.claim(9, "web", "9.0.0.77"), /unknown-agent/);
  const { agentId, instanceId } = request(1);
  const body = { agentId, instanceId, network: "dcos", name: "web", addresses: ["9.0.0.77"] };
  const path = `/v1/agents/${agentId}/claims`;
  assert.equal((await rig.callAs("agent-2", "POST", path, body)).status, 401, "in another's name");
  assert.equal((await rig.call("POST", path, body)).status, 401);
  assert.match(
    await (await rig.callAs("agent-2", "POST", "/v1/agents/agent-2/claims", body)).text(),
    /the path and that/,
  );
  assert.deepEqual(rig.cluster.reservations.hostedBy(agentId), []);
});

test("neither a command nor a file takes away the space in which something is reserved or hosted", async () => {
  const rig = new Rig();
  for (const n of [1, 2]) await rig.register(request(n));
  const space = "12.0.0.0/16";
  const set = async (...spaces: unknown[]) => {
    const answer = await rig.call("PATCH", "/v1/networks/dcos", { spaces }, true);
    return answer.status === 200 ? "" : await answer.text();
  };
  assert.equal(await set({ op: "add", space: { subnet: space, prefix: 24 } }), "");
  assert.equal(await rig.reserve("web", ["12.0.0.77"]), "");
  assert.equal(await rig.claim(2, "web", "12.0.0.77"), "12.0.0.77 1");
  assert.match(
    await set({ op: "remove", subnet: space }),
    /in-use.*12\.0\.0\.77 is reserved for web.*weft reserve --remove/,
  );
  const applied = await rig.call("POST", "/v1/apply", { config: CONFIG }, true);
  assert.match(await applied.text(), /"refused":\["network dcos: .*12\.0\.0\.77 is reserved for web/);
  rig.restart(`${CONFIG}enable_ipv6: false`);
  assert.match(rig.refused.join(), /12\.0\.0\.77 is reserved for web/);
  assert.deepEqual(rig.cluster.effective.source.overlays[0]?.more, [{ subnet: space, prefix: 24 }]);
  for (const n of [1, 2]) await rig.tell(n, []);
  assert.equal(await rig.remove("web"), "");
  assert.equal(await set({ op: "remove", subnet: space }), "", "once it is not reserved any more");
});

test("who has what, in 80 columns", async () => {
  const rig = new Rig();
  for (const n of [1, 2]) await rig.register(request(n));
  for (const n of [1, 2]) rig.connect(request(n));
  await rig.reserve("web", ["9.0.0.77"]);
  await rig.reserve("db", ["9.0.0.80", "9.0.0.81", "9.0.1.9"]);
  await rig.reserve("idle", ["9.0.0.90"]);
  await rig.claim(2, "web", "9.0.0.77");
  await rig.tell(1, [{ address: "9.0.0.80" as never, containerId: "c1", name: "mysql" }]);
  const view = reservationsSchema.parse(await rig.json("/v1/reservations"));
  const text = reservationsTable(view);
  assert.equal(
    text,
    `NETWORK  NAME  ADDRESSES                  HELD BY
dcos     db    9.0.0.80-9.0.0.81,9.0.1.9  host-1 (mysql!)
dcos     idle  9.0.0.90                   -
dcos     web   9.0.0.77                   - (last host-2)`,
  );
  for (const line of text.split("\n")) assert.ok(line.length <= 80, line);
});

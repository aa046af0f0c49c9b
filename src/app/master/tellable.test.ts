import assert from "node:assert/strict";
import { test } from "node:test";
import { MasterRig, request } from "../../../test/support/master-rig.ts";
import { ip } from "../../model/ip.ts";
import { HOSTED_MAX, MASTER_ANSWER_MAX_BYTES, RESERVED_ADDRESSES_MAX } from "../../model/limits.ts";
import type { Policy } from "../../model/policy.ts";

const NETWORKS = 200;
/** What as many removals as are kept add to an answer; here nobody was removed. */
const REMOVALS_BYTES = 270_000;
const yamlOf = (more = "") => `
dcos_overlay_network:
  vtep_subnet: 44.128.0.0/20
  vtep_mac_oui: 70:B3:D5:00:00:00
  overlays:
${Array.from({ length: NETWORKS }, (_, n) => `    - { name: net${n}, subnet: 9.${n}.0.0/16, prefix: 24${more} }`).join("\n")}
`;

const labels = (n: number) => ({ app: `${n}-`.padEnd(1_000, "x") });
const policy = (n: number): Policy => ({ name: `p${n}`, from: labels(n), to: labels(n), ports: [] });
const reservation = (n: number) => ({
  network: "net0",
  name: `r${n}`.padEnd(250, "y"),
  addresses: Array.from({ length: RESERVED_ADDRESSES_MAX }, (_, at) => ip(`9.0.${n}.${at + 8}`)),
});

/** Puts one after the other until one is refused. @returns how many were taken, and the refusal */
async function fill(rig: MasterRig, path: (n: number) => string, body: (n: number) => unknown) {
  for (let n = 0; ; n += 1) {
    const answer = await rig.call("PUT", path(n), body(n), true);
    if (answer.status !== 200) return { taken: n, status: answer.status, text: await answer.text() };
  }
}
const policies = (rig: MasterRig) =>
  fill(
    rig,
    (n) => `/v1/policies/p${n}`,
    (n) => ({ policy: policy(n) }),
  );
const reservations = (rig: MasterRig) =>
  fill(
    rig,
    (n) => `/v1/reservations/net0/${reservation(n).name}`,
    (n) => ({ reservation: reservation(n) }),
  );

test("what is accepted can be read by every agent, however much each of it is", async () => {
  const rig = new MasterRig(yamlOf());
  const reserved = HOSTED_MAX / RESERVED_ADDRESSES_MAX;
  await rig.register(request(1));
  for (let n = 0; n < reserved; n += 1) {
    rig.cluster.reservations.put(reservation(n), "test");
    for (const address of reservation(n).addresses)
      rig.cluster.reservations.claim({ ...reservation(n), agentId: "agent-1", addresses: [address] });
  }
  const { taken, status, text } = await policies(rig);
  assert.ok(taken > 100, `${taken} policies are taken`);
  assert.deepEqual([status, /remove some \('weft policy ls', 'weft reservations'\)/.test(text)], [507, true], text);
  const answer = await (await rig.tryRegister(request(1))).text();
  assert.ok(answer.length + REMOVALS_BYTES < MASTER_ANSWER_MAX_BYTES, `${answer.length} bytes`);
  assert.equal((await rig.register(request(1))).policies?.length, taken, "and it is read");
  const other = (await reservations(rig)).text;
  assert.match(other, /what every agent is told of networks, policies and reservations would be/);
  assert.equal((await rig.call("DELETE", "/v1/policies/p0", undefined, true)).status, 200);
  assert.equal(
    (await rig.call("PUT", "/v1/policies/p0", { policy: policy(0) }, true)).status,
    200,
    "there is room again",
  );
});

test("a configuration that adds too much is refused, and one that does not is taken", async () => {
  const rig = new MasterRig(yamlOf());
  await policies(rig);
  const apply = (config: string) => rig.call("POST", "/v1/apply", { config }, true);
  assert.equal((await apply(yamlOf(", isolation: closed"))).status, 507);
  assert.equal(rig.cluster.effective.source.overlays[0]?.isolation, undefined, "nothing of it happened");
  assert.equal((await apply(yamlOf(", phase: draining"))).status, 200);
});

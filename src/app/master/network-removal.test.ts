import assert from "node:assert/strict";
import { test } from "node:test";
import { MasterRig, request } from "../../../test/support/master-rig.ts";
import { ip } from "../../model/ip.ts";

const operator = (rig: MasterRig, method: string, path: string, body?: unknown) => rig.call(method, path, body, true);
const WEB = { name: "web", subnet: "10.64.0.0/12", prefix: 24 };
const removeWeb = async (rig: MasterRig) => (await operator(rig, "DELETE", "/v1/networks/web?force=true")).status;

/** Two agents have `web`, in which something is reserved and hosted, and a policy is about it. */
async function withWeb(): Promise<MasterRig> {
  const rig = new MasterRig();
  await operator(rig, "POST", "/v1/networks", WEB);
  for (const n of [1, 2]) await rig.register(request(n));
  const { reservations, policies } = rig.cluster;
  const claimed = { network: "web", name: "x", addresses: [ip("10.64.0.77")] };
  reservations.put(claimed, "test");
  reservations.claim({ agentId: "agent-2", ...claimed });
  policies.put({ name: "p", network: "web", from: { a: "b" }, to: { c: "d" }, ports: [] }, "test");
  return rig;
}

/** All that is about `web`, and who has what of it. */
function aboutWeb({ cluster }: MasterRig): unknown {
  return {
    networks: cluster.effective.source.overlays.filter(({ name }) => name === "web"),
    slices: cluster.agents().map(({ overlays }) => overlays.find(({ info }) => info.name === "web")?.subnet),
    reserved: cluster.reservations.of(["web"]),
    hosted: cluster.reservations.hostedBy("agent-2"),
    policies: cluster.policies.list(),
  };
}

const NOTHING = { networks: [], slices: [undefined, undefined], reserved: [], hosted: [], policies: [] };

test("a network is removed as a whole or not at all, whichever write the disk refuses", async () => {
  for (let refused = 0, done = false; !done; refused += 1) {
    const rig = await withWeb();
    const before = aboutWeb(rig);
    let writes = 0;
    Object.defineProperty(rig.disk, "full", { configurable: true, get: () => writes++ === refused });
    const status = await removeWeb(rig);
    Object.defineProperty(rig.disk, "full", { value: false });
    done = status === 204;
    if (!done) {
      assert.equal(status, 507);
      assert.deepEqual(aboutWeb(rig), before, `write ${refused} failed`);
      const third = (await rig.register(request(3))).agent.overlays.find(({ info }) => info.name === "web");
      assert.equal(third?.subnet, "10.64.2.0/24", "nobody gets what others have");
      rig.cluster.delete(["agent-3"], "test");
      assert.equal(await removeWeb(rig), 204, "the next one succeeds");
    }
    assert.deepEqual(aboutWeb(rig), NOTHING);
    rig.restart();
    assert.deepEqual(aboutWeb(rig), NOTHING);
  }
});

test("a network that many agents have, with much in their records, is removed", async () => {
  const AGENTS = 50;
  const NETWORKS = 60;
  const overlays = Array.from(
    { length: NETWORKS },
    (_, n) => `    - { name: n${n}, subnet: 9.${n}.0.0/16, prefix: 24 }`,
  );
  const rig = new MasterRig(`
dcos_overlay_network:
  vtep_subnet: 44.128.0.0/20
  vtep_mac_oui: 70:B3:D5:00:00:00
  overlays:
${overlays.join("\n")}
`);
  for (let n = 1; n <= AGENTS; n += 1) await rig.register(request(n));
  assert.equal((await operator(rig, "DELETE", "/v1/networks/n0?force=true")).status, 204);
  assert.ok(rig.cluster.agents().every((agent) => agent.overlays.length === NETWORKS - 1));
  assert.equal((await rig.register(request(1))).agent.overlays.length, NETWORKS - 1);
});

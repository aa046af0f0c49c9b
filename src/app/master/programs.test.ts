import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { MasterRig, request } from "../../../test/support/master-rig.ts";
import { AGENT_FEATURES, areTooFarApart } from "../../model/version.ts";

interface Agents {
  readonly agents: readonly { readonly id: string; readonly version?: string; readonly lacks?: readonly string[] }[];
}

const APART = `
dcos_overlay_network:
  vtep_subnet: 44.128.0.0/20
  vtep_mac_oui: 70:B3:D5:00:00:00
  overlays:
    - { name: dcos, subnet: 9.0.0.0/8, prefix: 24, isolation: closed }
    - { name: web, subnet: 10.64.0.0/16, prefix: 24, egress: none }
    - { name: open, subnet: 10.65.0.0/16, prefix: 24 }`;

async function views(rig: MasterRig): Promise<Agents["agents"]> {
  const { agents } = (await rig.json("/v1/agents")) as Agents;
  return agents.map(({ id, version, lacks }) => ({ id, ...(version && { version }), ...(lacks && { lacks }) }));
}

describe("agents of another version", () => {
  it("are shown with what they do not enforce, for as long as it is asked for", async () => {
    const rig = new MasterRig(APART);
    await rig.register(request(1));
    await rig.register(request(2, { version: "0.2.0", features: [...AGENT_FEATURES, "of later"] }));
    assert.deepEqual(await views(rig), [
      { id: "agent-1", lacks: ["isolation and egress of dcos, web"] },
      { id: "agent-2", version: "0.2.0" },
    ]);
    const ends = { from: { app: "web" }, to: { app: "db" }, ports: [] };
    rig.cluster.policies.put({ name: "db", ...ends }, "operator");
    assert.deepEqual((await views(rig))[0]?.lacks, ["isolation and egress of dcos, web", "policies"]);
    await rig.register(request(1, { version: "0.2.0", features: AGENT_FEATURES }));
    assert.deepEqual(await views(rig), [
      { id: "agent-1", version: "0.2.0" },
      { id: "agent-2", version: "0.2.0" },
    ]);
  });

  it("are no problem where nothing is asked that they do not know", async () => {
    const rig = new MasterRig();
    await rig.register(request(1));
    assert.deepEqual(await views(rig), [{ id: "agent-1" }]);
  });

  it("are refused when they are two versions apart, by a sentence that names both", async () => {
    const rig = new MasterRig();
    const answer = await rig.tryRegister(request(1, { version: "0.3.0" }));
    assert.equal(answer.status, 400);
    assert.match(
      await answer.text(),
      /agent-1 \(10\.0\.0\.1\) is weft 0\.3\.0, this master is weft 0\.1\.0; at most one/,
    );
    assert.deepEqual(await views(rig), []);
    await rig.register(request(1, { version: "0.2.9" }));
  });

  it("are apart by the second number, and who names none is from before 0.2", () => {
    const cases: [string | undefined, string | undefined, boolean][] = [
      ["0.4.2", "0.3.9", false],
      ["0.4.2", "0.2.9", true],
      ["0.2.0", "0.4.0", true],
      ["1.0.0", "0.9.0", true],
      [undefined, "0.2.0", false],
      [undefined, "0.3.0", true],
      ["built here", "0.9.0", false],
    ];
    for (const [a, b, expected] of cases) assert.equal(areTooFarApart(a, b), expected, `${a} and ${b}`);
  });
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { MasterRig, request } from "../../../test/support/master-rig.ts";
import { OVERLAYS_MAX } from "../../model/limits.ts";

const nameOf = (n: number) => `n${n}`;
const definitionOf = (n: number) => ({ name: nameOf(n), subnet: `10.${n}.0.0/16`, prefix: 24 });
const numbers = (count: number) => Array.from({ length: count }, (_, n) => n);

function fileOf(count: number): string {
  const overlays = numbers(count).map((n) => `    - { name: ${nameOf(n)}, subnet: 10.${n}.0.0/16, prefix: 24 }`);
  return `
dcos_overlay_network:
  vtep_subnet: 44.128.0.0/20
  vtep_mac_oui: 70:B3:D5:00:00:00
  overlays:
${overlays.join("\n")}
`;
}

const hosted = (n: number) => request(n, { ip: `192.168.0.${n}` as never });
const operator = (rig: MasterRig, method: string, path: string, body?: unknown) => rig.call(method, path, body, true);

async function namesOf(rig: MasterRig): Promise<string[]> {
  const { networks } = (await rig.json("/v1/networks")) as { networks: { name: string }[] };
  return networks.map(({ name }) => name);
}

async function revisionOf(rig: MasterRig): Promise<number> {
  return ((await rig.json("/v1/state")) as { revision: number }).revision;
}

test("as many networks as there may be are there from the first start on, in their order", async () => {
  const rig = new MasterRig(fileOf(OVERLAYS_MAX));
  const names = numbers(OVERLAYS_MAX).map(nameOf);
  assert.deepEqual(await namesOf(rig), names);
  rig.restart(fileOf(OVERLAYS_MAX));
  assert.deepEqual(await namesOf(rig), names);
  assert.equal((await rig.register(hosted(1))).agent.overlays.length, OVERLAYS_MAX);
});

test("a file with so many is applied as a whole, and one with few takes them away again", async () => {
  const rig = new MasterRig(fileOf(2));
  assert.equal((await operator(rig, "POST", "/v1/apply", { config: fileOf(120) })).status, 200);
  assert.deepEqual(await namesOf(rig), numbers(120).map(nameOf));
  assert.equal((await operator(rig, "POST", "/v1/apply", { config: fileOf(2) })).status, 200);
  assert.deepEqual(await namesOf(rig), numbers(2).map(nameOf));
  rig.restart(fileOf(2));
  assert.deepEqual(await namesOf(rig), numbers(2).map(nameOf));
});

test("one of many is removed by a change of its own size, and the others keep their order", async () => {
  const rig = new MasterRig(fileOf(107));
  const before = await revisionOf(rig);
  assert.equal((await operator(rig, "DELETE", `/v1/networks/${nameOf(2)}`)).status, 204);
  const { events } = (await rig.json(`/v1/events?after=${before}`)) as { events: { changes: { key: string }[] }[] };
  assert.deepEqual(
    events.map(({ changes }) => changes.map(({ key }) => key)),
    [["network/n2"]],
  );
  assert.equal((await operator(rig, "POST", "/v1/networks", definitionOf(2))).status, 204);
  const names = [...numbers(107).filter((n) => n !== 2), 2].map(nameOf);
  assert.deepEqual(await namesOf(rig), names);
  rig.restart(fileOf(107));
  assert.deepEqual(await namesOf(rig), names);
});

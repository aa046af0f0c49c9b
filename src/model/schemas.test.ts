import assert from "node:assert/strict";
import { test } from "node:test";
import { agentRecordSchema, ipSchema, issuesOf, macSchema } from "./schemas.ts";

const RECORD = {
  id: "2f0c",
  ip: "10.0.0.11",
  hostname: "host-1",
  backend: { vni: 1024, vtepName: "vtep1024", vtepIp: "44.128.0.2/20", vtepMac: "70:b3:d5:80:00:02" },
  overlays: [{ info: { name: "dcos", subnet: "9.0.0.0/8", prefix: 24, enabled: true }, subnet: "9.0.1.0/24" }],
};

test("a record passes unchanged, without keys that nobody knows", () => {
  assert.deepEqual(agentRecordSchema.parse({ ...RECORD, extra: 1 }), RECORD);
});

test("text that is no canonical value is refused, with its place", () => {
  const broken = structuredClone(RECORD);
  broken.overlays[0] = { info: { name: "dcos", subnet: "9.0.0.1/8", prefix: 24, enabled: true }, subnet: "9.0.1.0/24" };
  broken.ip = "nowhere";
  const { error } = agentRecordSchema.safeParse(broken);
  assert.ok(error !== undefined);
  assert.deepEqual(issuesOf(error), [
    "ip: is not an IP address in canonical form, such as 10.0.0.11",
    "overlays[0].info.subnet: is not a network in canonical form, such as 9.0.1.0/24",
  ]);
  for (const text of ["FD01::1", "::ffff:10.0.0.1", "10.0.0.1/8", 7, null])
    assert.ok(!ipSchema.safeParse(text).success, String(text));
  assert.ok(!macSchema.safeParse("70:B3:D5:80:00:02").success);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { DCOS, fileOf, overlays } from "../../../test/support/config-file.ts";
import { parseClusterConfig, parseNetworkSource } from "./cluster-config.ts";

const NET_B = { name: "b", subnet: "192.168.0.0/16", prefix: 24 };

test("what a network says by default is not told to agents, what it says else is", () => {
  const of = (more: object) => {
    const { source, config } = parseClusterConfig(fileOf(overlays({ ...DCOS, ...more }, NET_B)));
    const { isolation, egress } = config.network.overlays[0] ?? {};
    assert.deepEqual(parseNetworkSource(JSON.parse(JSON.stringify(source))), source);
    return { isolation, egress };
  };
  assert.deepEqual(of({ isolation: "open", egress: "masquerade" }), { isolation: undefined, egress: undefined });
  assert.deepEqual(of({ isolation: "closed", egress: "none" }), { isolation: "closed", egress: "none" });
  assert.deepEqual(of({ isolation: { allow: ["b", "b"] } }).isolation, { allow: ["b"] });
});

test("halves lend unless the file says that they do not", () => {
  const halves = (strict_halves?: boolean) =>
    parseClusterConfig(fileOf(overlays({ ...DCOS, strict_halves }))).config.network.overlays[0]?.strictHalves;
  assert.deepEqual([halves(), halves(false), halves(true)], [undefined, undefined, true]);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { cidr } from "../../model/ip.ts";
import { capacityText } from "./capacity-text.ts";

test("networks, then agents, in at most 80 columns", () => {
  const room = {
    agent: "a-1",
    connected: true,
    network: "dcos-13-bytes",
    family: 4,
    runtime: "cni",
    free: 0,
    used: 26,
    slices: 2,
    state: "exhausted",
    at: "2026-11-21T08:00:00Z",
  } as const;
  const text = capacityText({
    networks: [
      {
        network: "dcos-13-bytes",
        family: 4,
        exhausted: true,
        pools: [{ kind: "subnet", network: "dcos", pool: cidr("9.0.0.0/26"), used: 1, resting: 1, size: 2 }],
      },
      {
        network: "dcos6",
        family: 6,
        exhausted: false,
        pools: [{ kind: "subnet6", network: "dcos6", pool: cidr("fd01:b::/64"), used: 1, size: 65_536 }],
      },
    ],
    agents: [
      { ...room, hostname: "a-host-with-a-very-long-name.in.a.long.domain.example" },
      { ...room, hostname: "host2", connected: false, state: "room", free: 2 ** 47 },
    ],
  });
  assert.ok(
    text.split("\n").every((line) => line.length <= 80),
    text,
  );
  assert.match(text, /^dcos-13-bytes {2}9\.0\.0\.0\/26 .* 2 +1 +1 {2}exhausted$/m);
  assert.match(text, /^dcos6 .* 65536 +1 +0 {2}room$/m);
  assert.match(text, /^a-host-.*… {2}dcos-13-bytes {2}v4 {2}cni +2 +26 +0 {2}exhausted$/m);
  assert.match(text, /^host2 .* 2\^47 {2}room, away$/m);
});

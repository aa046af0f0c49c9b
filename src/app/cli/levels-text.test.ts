import assert from "node:assert/strict";
import { test } from "node:test";
import { levelLines } from "./levels-text.ts";

type Host = Parameters<typeof levelLines>[0][number];

const host = (number: number, level: 0 | 1 | 2, ...reasons: string[]): Host => ({
  hostname: `host${number}`,
  connected: true,
  datapath: { level, reasons },
});

test("hosts that are alike are one line, the highest level first, with the first of them by name", () => {
  const agents = [
    host(1, 1, "eth0 is no Ethernet device"),
    ...[2, 3, 4].map((number) => host(number, 2)),
    ...[5, 6, 7, 8, 9].map((number) => host(number, 1, "it is set to 1")),
    host(10, 0, "it is set to 0"),
  ];
  assert.deepEqual(levelLines(agents), [
    "datapath level 2 on 3 hosts",
    "datapath level 1 on 1 host: eth0 is no Ethernet device (host1)",
    "datapath level 1 on 5 hosts: it is set to 1 (host5, host6, host7, 2 more)",
    "datapath level 0 on 1 host: it is set to 0 (host10)",
  ]);
});

test("nothing is said of hosts that are away, or whose agents are older", () => {
  const away = { ...host(1, 0), connected: false };
  assert.deepEqual(levelLines([away, { hostname: "old", connected: true }]), []);
});

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { test } from "node:test";
import { createLab } from "../../src/app/demo/lab.ts";
import { mustRun } from "../../src/app/demo/netns.ts";
import { labOrReason } from "../support/lab.ts";

const skip = await labOrReason();

test("hosts of a lab reach each other and the internet host, which knows no way to an overlay", { skip }, async () => {
  const lab = await createLab({ hosts: 2 });
  const [host1, host2] = lab.hosts;
  assert.ok(host1 !== undefined && host2 !== undefined);
  for (const target of [host2.address, host2.address6, lab.internet.address, lab.internet.address6])
    await host1.mustRun("ping", ["-c1", "-W2", target]);
  const route = await lab.internet.run("ping", ["-c1", "-W1", "9.0.0.2"]);
  assert.notEqual(route.status, 0);
  assert.match(await mustRun("ip", ["netns"]), /host1/);
  assert.deepEqual(readdirSync("/run").sort(), ["netns", "weft"]);
});

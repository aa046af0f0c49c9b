import assert from "node:assert/strict";
import { test } from "node:test";
import { openControl } from "../../../test/support/control.ts";
import { MasterRig, request } from "../../../test/support/master-rig.ts";
import { openMemoryMasterDisk } from "../../io/store/memory-store.ts";
import { ip } from "../../model/ip.ts";
import { ControlRecords } from "./control-records.ts";
import { gossipSeeds, KeptAddresses } from "./gossip-seeds.ts";

const at = { ip: ip("10.0.0.250"), port: 62_502 };

test("a master that never heard of anybody knocks at agents of all parts of the cluster", async () => {
  const rig = new MasterRig();
  for (let n = 1; n <= 100; n += 1) await rig.register(request(n));
  const records = new ControlRecords(rig.cluster.book, rig.secrets.storeKey);
  const seeds = gossipSeeds(records, at);
  assert.equal(seeds.length, 32);
  assert.deepEqual(seeds.slice(0, 2), ["10.0.0.1:62501", "10.0.0.4:62501"]);
  assert.ok(Number(seeds.at(-1)?.split(/[.:]/)[3]) > 90);
  assert.deepEqual(gossipSeeds(records, { ...at, ip: ip("fd00::1") }), [], "members speak one family");
});

test("of agents at another port a few addresses are kept, and dead ones give way to living ones", () => {
  const { records } = openControl(openMemoryMasterDisk());
  const kept = new KeptAddresses(records);
  kept.heard("10.0.0.1:62501", true);
  kept.heard("10.0.0.1:7000", false);
  assert.deepEqual(records.gossipAddresses(), []);
  for (let n = 1; n <= 20; n += 1) kept.heard(`10.0.0.${n}:7000`, true);
  assert.equal(records.gossipAddresses().length, 8);
  kept.heard("10.0.0.3:7000", false);
  kept.heard("10.0.0.4:7000", false);
  kept.heard("10.0.0.4:7000", true);
  kept.heard("10.0.0.20:7000", true);
  kept.heard("10.0.0.19:7000", true);
  const addresses = [1, 2, 4, 5, 6, 7, 8, 20].map((n) => `10.0.0.${n}:7000`);
  assert.deepEqual(records.gossipAddresses(), addresses);
  assert.deepEqual(gossipSeeds(records, at), addresses);
});

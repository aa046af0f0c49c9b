import assert from "node:assert/strict";
import { test } from "node:test";
import { sourceAddressTowards } from "./source-address.ts";

test("a master on this very host says nothing about the underlay", async () => {
  await assert.rejects(sourceAddressTowards("127.0.0.1"), /loopback.*--ip/);
  await assert.rejects(sourceAddressTowards("not a name"), /cannot tell.*--ip/);
});

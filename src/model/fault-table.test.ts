import assert from "node:assert/strict";
import { test } from "node:test";
import { Fault } from "./fault.ts";
import { faultBody, parseFaultBody } from "./fault-table.ts";

test("a fault survives the way over HTTP, and nothing else becomes one", () => {
  const fault = new Fault("exhausted", "network dcos is full", { network: "dcos" });
  const arrived = parseFaultBody(JSON.parse(JSON.stringify(faultBody(fault))));
  assert.deepEqual([arrived?.code, arrived?.message, arrived?.facts], ["exhausted", fault.message, fault.facts]);
  for (const body of [
    null,
    3,
    {},
    { error: null },
    { error: { code: "toString", message: "x" } },
    { error: { code: "exhausted" } },
  ])
    assert.equal(parseFaultBody(body), undefined, JSON.stringify(body));
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { Fault } from "../../model/fault.ts";
import { parseClusterConfig } from "./cluster-config.ts";

test("what becomes of agents that are gone is read, in times with a unit", () => {
  assert.equal(parseClusterConfig("").config.agents, undefined);
  assert.deepEqual(parseClusterConfig("agents: { remove_after: 24h, rest: 10m }").config.agents, {
    removeAfterSeconds: 86_400,
    restSeconds: 600,
  });
  assert.deepEqual(parseClusterConfig("agents: { rest: 0s }").config.agents, { restSeconds: 0 });
});

test("whether agents may add networks is read, and is no by default", () => {
  assert.deepEqual(parseClusterConfig("agents: { may_add_networks: true }").config.agents, { mayAddNetworks: true });
  assert.deepEqual(parseClusterConfig("agents: { may_add_networks: false }").config.agents, {});
});

test("times that are none, or too short to tell away from slow, are refused", () => {
  for (const [text, pattern] of [
    ["agents: 24h", /^agents: .*is not a mapping/],
    ["agents: { remove_after: 24 }", /^agents\.remove_after: 24 is no time with a unit/],
    ["agents: { remove_after: 1s }", /^agents\.remove_after: "1s" is out of range/],
    ["agents: { may_add_networks: 1 }", /^agents\.may_add_networks: 1 is not a boolean/],
    ["agents: { rest: 1y }", /^agents\.rest: "1y" is no time with a unit/],
  ] as const)
    assert.throws(
      () => parseClusterConfig(text),
      (thrown) => thrown instanceof Fault && pattern.test(String((thrown.facts.problems as string[])[0])),
      text,
    );
});

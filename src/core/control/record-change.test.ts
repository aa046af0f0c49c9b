import assert from "node:assert/strict";
import { test } from "node:test";
import { agentRecord } from "../../../test/contract/store-contract.ts";
import type { AgentOverlay, AgentRecord } from "../../model/cluster.ts";
import { cidr, ip } from "../../model/ip.ts";
import { recordChangeText } from "./record-change.ts";

const INFO = { name: "dcos", subnet: cidr("9.0.0.0/8"), prefix: 24, enabled: true };
const FIRST: AgentOverlay = { info: INFO, subnet: cidr("9.0.1.0/24") };
const SECOND = { subnet: cidr("9.0.4.0/24"), subnet6: cidr("fd01:b::/80") };

function having(...overlays: AgentOverlay[]): AgentRecord {
  return { ...agentRecord(1), overlays };
}

test("every change of an agent's record has words of its own", () => {
  const more = having({ ...FIRST, more: [SECOND] });
  const draining = having({ ...FIRST, more: [{ ...SECOND, draining: true }] });
  const web = having(FIRST, { info: { ...INFO, name: "web" }, subnet: cidr("10.0.1.0/24") });
  const { id, ip: address, hostname } = more;
  const cases: [AgentRecord | undefined, AgentRecord, string][] = [
    [undefined, having(FIRST), "added"],
    [having(FIRST), having(FIRST), "gets a newly signed assignment"],
    [having(FIRST), having({ ...FIRST, info: { ...INFO, enabled: false } }), "changed"],
    [having(FIRST), more, "gets 9.0.4.0/24 and fd01:b::/80 of dcos"],
    [more, draining, "is to give back 9.0.4.0/24 and fd01:b::/80 of dcos"],
    [draining, more, "keeps 9.0.4.0/24 and fd01:b::/80 of dcos"],
    [draining, having(FIRST), "gave back 9.0.4.0/24 and fd01:b::/80 of dcos"],
    [having(FIRST), web, "gets 10.0.1.0/24 of web"],
    [web, having(FIRST), "gave back 10.0.1.0/24 of web"],
    [more, { ...more, id: "new" }, `takes over from ${id}`],
    [more, { ...more, ip: ip("10.9.9.9"), hostname: "h" }, `was at ${address}, was called ${hostname}`],
  ];
  for (const [before, after, expected] of cases) {
    const who = `agent ${after.id} (${after.hostname}, ${after.ip})`;
    assert.equal(recordChangeText(before, after), `${who} ${expected}`);
  }
});

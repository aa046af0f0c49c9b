import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { HostTrust } from "../../../sim/hosts/host-trust.ts";
import { MasterRecords } from "../../../sim/hosts/master-records.ts";
import { ip } from "../../model/ip.ts";
import { memberIdOf } from "../../model/trust/member.ts";
import { ASSIGNMENT_KEY, Directory } from "./directory.ts";

function recordsOf(values: Readonly<Record<string, Uint8Array>>) {
  return { keys: () => Object.keys(values), value: (key: string) => values[key] };
}

describe("the directory of an agent", () => {
  it("does not count the agent itself among its peers", () => {
    const trust = new HostTrust();
    const masters = new MasterRecords(trust.cluster);
    const directory = new Directory(trust.cluster.publicKey, trust.verify, "agent-1");
    for (const n of [1, 2]) {
      const { publicKey } = trust.admitted();
      const { papers } = masters.register({ agentId: `agent-${n}`, ip: ip(`10.0.0.${n}`), publicKey });
      directory.update(memberIdOf(publicKey), recordsOf({ [ASSIGNMENT_KEY]: papers.statement }));
    }
    assert.deepEqual(
      [...directory.peers()].map(({ id }) => id),
      ["agent-2"],
    );
  });
});

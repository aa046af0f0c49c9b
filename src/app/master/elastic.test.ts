import assert from "node:assert/strict";
import { test } from "node:test";
import { MasterRig, request } from "../../../test/support/master-rig.ts";
import { verifySignature } from "../../io/crypto/keys.ts";
import {
  type AgentOverlay,
  type Assignment,
  type HalfUsage,
  halvesOf,
  type ReportAnswer,
} from "../../model/cluster.ts";
import { verifyAssignmentStatement } from "../../model/trust/assignment-statement.ts";

const SECTION = `dcos_overlay_network:
  vtep_subnet: 44.128.0.0/20
  vtep_mac_oui: 70:B3:D5:00:00:00
  overlays:
`;
const DCOS = `${SECTION}    - { name: dcos, subnet: 9.0.0.0/26, prefix: 28 }\n`;
/** A /28 has two halves of eight addresses, five of them for containers. */
const HALF_SIZE = 5;

function usageOf(overlay: AgentOverlay, held: Readonly<Record<string, number>>, idle: readonly string[] = []) {
  return (["mesos", "docker"] as const).flatMap((name) =>
    halvesOf(overlay, name).map(({ half, slice, draining }): HalfUsage => {
      const used = Math.min(HALF_SIZE, Math.max(0, (held[slice] ?? 0) - (name === "mesos" ? 0 : HALF_SIZE)));
      const rest = { ...(draining && { draining }), ...(idle.includes(slice) && { idle: true as const }) };
      return {
        half,
        slice,
        runtime: name === "mesos" ? "cni" : name,
        used,
        resting: 0,
        free: HALF_SIZE - used,
        ...rest,
      };
    }),
  );
}

/** An agent of the rig that tells the master how full it is. */
class Teller {
  readonly #rig: MasterRig;
  readonly #n: number;
  assignment: Assignment | undefined;

  constructor(rig: MasterRig, n: number) {
    this.#rig = rig;
    this.#n = n;
  }

  async register(): Promise<Assignment> {
    this.assignment = await this.#rig.register(request(this.#n));
    return this.assignment;
  }

  get overlay(): AgentOverlay {
    const [overlay] = this.assignment?.agent.overlays ?? [];
    assert.ok(overlay !== undefined);
    return overlay;
  }

  async tell(held: Readonly<Record<string, number>>, idle: readonly string[] = []): Promise<ReportAnswer> {
    const { agentId, instanceId } = request(this.#n);
    const overlays = [{ name: "dcos", status: "STATUS_OK", usage: usageOf(this.overlay, held, idle) }];
    const answer = await this.#rig.callAs(agentId, "POST", `/v1/agents/${agentId}/status`, {
      agentId,
      instanceId,
      overlays,
    });
    assert.equal(answer.status, 200, await answer.clone().text());
    return (await answer.json()) as ReportAnswer;
  }

  /** Tells and fetches until the master has nothing new. */
  async settle(held: Readonly<Record<string, number>>, idle: readonly string[] = []): Promise<void> {
    for (let n = 0; n < 10; n++) {
      if (!(await this.tell(held, idle)).reassigned) return;
      await this.register();
    }
    assert.fail("it never ends");
  }
}

async function tellers(rig: MasterRig, count: number): Promise<readonly Teller[]> {
  const all = Array.from({ length: count }, (_, i) => new Teller(rig, i + 1));
  for (const teller of all) await teller.register();
  return all;
}

const QUIET = { reassigned: false, exhausted: [] };
const [A, B, C] = ["9.0.0.0/28", "9.0.0.16/28", "9.0.0.32/28"] as const;

test("an agent that fills up is given a slice, which its peers are told of by the cluster's word", async () => {
  const rig = new MasterRig(DCOS);
  const [one] = await tellers(rig, 1);
  assert.ok(one !== undefined);
  assert.deepEqual(one.assignment?.elastic, { threshold: 0.8 });
  assert.deepEqual(await one.tell({ [A]: 7 }), QUIET);
  assert.deepEqual(await one.tell({ [A]: 8 }), { reassigned: true, exhausted: [] });
  assert.deepEqual(await one.tell({ [A]: 10 }), { reassigned: true, exhausted: [] }, "once, until it has fetched it");
  const { assignment, membership } = await rig.admission(request(1), { signer: rig.signerOf("agent-1") });
  assert.deepEqual(assignment.agent.overlays[0]?.more, [{ subnet: B }]);
  const statement = verifyAssignmentStatement(membership.statement, membership.clusterKey, verifySignature);
  assert.deepEqual([statement?.peer.subnets, statement?.revision], [[A, B], 2]);
  await one.register();
  assert.deepEqual(await one.tell({ [A]: 10 }), QUIET);
  rig.restart(DCOS);
  assert.deepEqual((await one.register()).agent.overlays[0]?.more, [{ subnet: B }], "it is on the disk");
  assert.doesNotMatch(rig.cluster.stateJson(), /9\.0\.0\.16/, "the original's document shows the first one");
});

test("a slice that was given back is given to nobody while it rests, over restarts; then to who comes", async () => {
  const yaml = `elastic: { rest_seconds: 60 }\n${DCOS}`;
  const rig = new MasterRig(yaml);
  const [one] = await tellers(rig, 1);
  assert.ok(one !== undefined);
  await one.settle({ [A]: 8 });
  await one.settle({ [A]: 3 }, [B]);
  assert.deepEqual(one.overlay.more, undefined);
  rig.restart(yaml);
  await one.register();
  const [, two] = await tellers(rig, 2);
  assert.equal(two?.overlay.subnet, C);
  rig.clock.advance(60_000);
  await new Teller(rig, 3).register();
  assert.equal(rig.cluster.agents()[2]?.overlays[0]?.subnet, B);
});

test("what cannot be written is not given", async () => {
  const rig = new MasterRig(DCOS);
  const [one] = await tellers(rig, 1);
  rig.disk.full = true;
  await assert.rejects(async () => one?.tell({ [A]: 10 }), /503|500|507|storage/);
  rig.disk.full = false;
  assert.deepEqual(await one?.tell({ [A]: 10 }), { reassigned: true, exhausted: [] });
  assert.deepEqual((await one?.register())?.agent.overlays[0]?.more, [{ subnet: B }]);
});

test("the end of a network is told to who asks, and counted once", async () => {
  const rig = new MasterRig(DCOS);
  const [one, two] = await tellers(rig, 2);
  await one?.settle({ [A]: 10 });
  await one?.settle({ [A]: 10, [C]: 10 });
  for (let n = 0; n < 3; n++)
    assert.deepEqual(await two?.tell({ [B]: 10 }), { reassigned: false, exhausted: ["dcos"] });
  const { networks, agents } = (await rig.json("/v1/capacity")) as Record<string, Record<string, unknown>[]>;
  assert.deepEqual(networks?.[0]?.exhausted, true);
  assert.deepEqual(
    agents?.map(({ agent, runtime, slices, used, free, state }) => [agent, runtime, slices, used, free, state]),
    [
      ["agent-1", "cni", 3, 10, 5, "room"],
      ["agent-1", "docker", 3, 10, 5, "room"],
      ["agent-2", "cni", 1, 5, 0, "exhausted"],
      ["agent-2", "docker", 1, 5, 0, "exhausted"],
    ],
  );
  const metrics = await (await rig.call("GET", "/metrics")).text();
  assert.match(metrics, /weft_master_network_exhaustions_total 1\n/);
  assert.match(metrics, /weft_master_network_exhausted\{network="dcos",family="4"\} 1/);
});

test("a subnet is replaced without renaming the network: through a second space and a drain", async () => {
  const rig = new MasterRig(DCOS);
  const [one] = await tellers(rig, 1);
  assert.ok(one !== undefined);
  const replacing = `${SECTION}    - name: dcos
      subnet: 9.0.0.0/26
      prefix: 28
      draining: true
      more: [{ subnet: 10.1.0.0/16, prefix: 24 }]\n`;
  rig.restart(replacing);
  assert.deepEqual(rig.refused, []);
  await one.register();
  await one.settle({ [A]: 2 });
  assert.deepEqual([one.overlay.draining, one.overlay.more], [true, [{ subnet: "10.1.0.0/24" }]]);
  const done = `${SECTION}    - { name: dcos, subnet: 10.1.0.0/16, prefix: 24 }\n`;
  rig.restart(done);
  assert.match(
    rig.refused.join(),
    /it cannot change from 9\.0\.0\.0\/26 in \/28 to 10\.1\.0\.0\/16 in \/24/,
    "too early",
  );
  rig.restart(replacing);
  await one.register();
  await one.settle({});
  assert.deepEqual(
    [one.overlay.subnet, one.overlay.draining, one.overlay.more, one.overlay.mesosBridge?.ip],
    ["10.1.0.0/24", undefined, undefined, "10.1.0.0/25"],
  );
  rig.restart(done);
  assert.deepEqual(rig.refused, []);
  assert.equal((await one.register()).agent.overlays[0]?.info.subnet, "10.1.0.0/16");
});

test("elastic: false gives one slice for good, and versions that tell nothing are left alone", async () => {
  const rig = new MasterRig(`elastic: false\n${DCOS}`);
  const [one] = await tellers(rig, 1);
  assert.equal(one?.assignment?.elastic, undefined);
  assert.deepEqual(await one?.tell({ [A]: 10 }), QUIET);
  const { agentId, instanceId } = request(1);
  const overlays = [{ name: "dcos", status: "STATUS_OK" }];
  const report = { agentId, instanceId, overlays };
  const answer = await rig.callAs(agentId, "POST", `/v1/agents/${agentId}/status`, report);
  assert.deepEqual(await answer.json(), QUIET);
});

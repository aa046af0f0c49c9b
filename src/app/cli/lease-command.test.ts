/**
 * `weft endpoints`, `weft tasks` and `weft ipam` as somebody types them, asked of an agent that runs on a fake machine.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { callBody, type TestCall } from "../../../test/support/cni.ts";
import { NOBODY_ELSE } from "../../../test/support/host-world.ts";
import { seedAssignment } from "../../../test/support/seed-cluster.ts";
import { membershipFor, newSigner } from "../../../test/support/trust.ts";
import { SYSTEM_CLOCK } from "../../io/clock.ts";
import { FakeMachine } from "../../io/kernel/fake-kernel.ts";
import { SILENT_LOG } from "../../io/log.ts";
import { requestTo } from "../../io/master-call.ts";
import { SimClock } from "../../io/sim-clock.ts";
import { SimNetwork } from "../../io/sim-udp.ts";
import { openMemoryAgentStore } from "../../io/store/memory-store.ts";
import { ip } from "../../model/ip.ts";
import { type RunningAgent, startAgent } from "../agent/start.ts";
import { createProgram } from "./program.ts";

const DATE = "2026-11-21T08:00:17Z";

interface Host {
  readonly machine: FakeMachine;
  readonly agent: RunningAgent;
  readonly socketPath: string;
}

/** Agent 1 of the seeds, with its networks in place. */
async function startHost(t: TestContext): Promise<Host> {
  const folder = mkdtempSync(join(tmpdir(), "weft-lease-command-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const machine = new FakeMachine();
  const kernel = machine.kernel();
  kernel.addDevice("eth0", ["10.0.0.11/24"]);
  const isUp = Promise.withResolvers<void>();
  const socketPath = join(folder, "agent.sock");
  const membership = membershipFor(seedAssignment(1), newSigner(), newSigner());
  const agent = await startAgent(
    {
      ip: ip("10.0.0.11"),
      hostname: "host1",
      networkConfig: { allocateSubnet: true, mesosBridge: true, dockerBridge: true },
      listen: "127.0.0.1:0",
      version: "0",
      gossipPort: 0,
      socketPath,
    },
    {
      kernel,
      store: openMemoryAgentStore(),
      ...NOBODY_ELSE,
      udp: new SimNetwork(new SimClock()).host(ip("10.0.0.11")),
      signer: newSigner(),
      clock: { ...SYSTEM_CLOCK, date: () => DATE },
      random: { fraction: () => 0, uuid: () => "agent-1" },
      log: SILENT_LOG,
      client: {
        register: async () => ({ assignment: seedAssignment(1), membership }),
        reportStatus: async ({ overlays }) => {
          if (overlays.some(({ status }) => status === "STATUS_OK")) isUp.resolve();
          return { reassigned: false, exhausted: [] };
        },
      },
      onFatal: (fault) => assert.fail(fault),
      onBug: (thrown) => assert.fail(String(thrown)),
    },
  );
  t.after(() => agent.close());
  await isUp.promise;
  return { machine, agent, socketPath };
}

async function attach({ machine, socketPath }: Host, containerId: string, more: Partial<TestCall> = {}): Promise<void> {
  const netns = `/run/netns/${containerId}`;
  machine.newNetns(netns);
  const body = callBody({ command: "ADD", containerId, netns, requestId: containerId, ...more });
  const { promise, resolve, reject } = Promise.withResolvers<number | undefined>();
  const address = { text: socketPath, isSecure: false, where: { socketPath } };
  const request = requestTo(address, { method: "POST", path: "/v1/cni" });
  request.on("response", (answer) => resolve(answer.resume().statusCode));
  request.on("error", reject).end(body);
  assert.equal(await promise, 200);
}

/** What the command prints, and its exit status. */
async function weft(t: TestContext, ...argv: string[]): Promise<{ text: string; exit: number }> {
  const lines: string[] = [];
  const log = t.mock.method(console, "log", (line: string) => lines.push(line));
  try {
    await createProgram().parseAsync(argv, { from: "user" });
    return { text: lines.join("\n"), exit: Number(process.exitCode ?? 0) };
  } finally {
    log.mock.restore();
    process.exitCode = undefined;
  }
}

test("who has which address, how many there are, and what is wrong with them", async (t) => {
  const host = await startHost(t);
  await attach(host, "c1", { environment: { CNI_WEFT_RUNTIME: "podman", CNI_ARGS: "K8S_POD_NAME=web" } });
  await attach(host, "c2", { network: "dcos6", environment: { CNI_WEFT_RUNTIME: "containerd" } });
  const agent = ["--agent", `unix:${host.socketPath}`];

  assert.equal(
    (await weft(t, "endpoints", ...agent)).text,
    `
CONTAINER  RUNTIME     NETWORK  ADDRESS          SINCE
web (c1)   podman      dcos     9.0.1.2          2026-11-21 08:00Z
c2         containerd  dcos6    fd01:b::1:0:0:2  2026-11-21 08:00Z`.slice(1),
  );
  const [first] = JSON.parse((await weft(t, "endpoints", "--json", ...agent)).text);
  assert.deepEqual([first.containerId, first.addresses, first.since], ["c1", ["9.0.1.2"], DATE]);

  const tasks = await weft(t, "tasks", ...agent);
  assert.match(tasks.text, /^web +podman +dcos +9\.0\.1\.2 +- +-$/m);
  const [task] = JSON.parse((await weft(t, "tasks", "--json", ...agent)).text);
  assert.deepEqual([task.name, task.framework, task.labels], ["web", "podman", { K8S_POD_NAME: "web" }]);

  const shown = await weft(t, "ipam", "show", ...agent);
  assert.match(shown.text, /^dcos +cni +9\.0\.1\.0\/25 +125 +1 +0 +124 +0 %$/m);
  const halves = JSON.parse((await weft(t, "ipam", "show", "--json", ...agent)).text);
  assert.equal(halves.length, 4);

  assert.deepEqual(await weft(t, "ipam", "check", ...agent), { text: "no problems", exit: 0 });
  assert.deepEqual(await weft(t, "ipam", "gc", ...agent), { text: "nothing to release", exit: 0 });
  assert.deepEqual(await weft(t, "ipam", "gc", "--json", ...agent), { text: "[]", exit: 0 });
});

test("what has lost its namespace is found with exit status 1, and released", async (t) => {
  const host = await startHost(t);
  await attach(host, "c1", { environment: { CNI_WEFT_PLUGIN: "weft-ipam" } });
  await attach(host, "c2");
  const agent = ["--agent", `unix:${host.socketPath}`];
  host.machine.deleteNetns("/run/netns/c1");
  const { text, exit } = await weft(t, "ipam", "check", ...agent);
  assert.match(text, /^container c1, eth0 on dcos \(9\.0\.1\.2\): its network namespace \/run\/netns\/c1 is gone/);
  assert.equal(exit, 1);
  assert.equal(JSON.parse((await weft(t, "ipam", "check", "--json", ...agent)).text).length, 1);
  const collected = await weft(t, "ipam", "gc", ...agent);
  assert.match(collected.text, /^released:\nCONTAINER .*\nc1 +- +dcos +9\.0\.1\.2 /);
  assert.equal((await weft(t, "ipam", "check", ...agent)).exit, 0);
  assert.match((await weft(t, "ipam", "show", ...agent)).text, /^dcos +cni +9\.0\.1\.0\/25 +125 +1 +1 +123 /m);
});

test("by TCP everybody may look, and only the socket's owner have leases checked or released", async (t) => {
  const host = await startHost(t);
  const agent = ["--agent", `http://${host.agent.address}`];
  for (const command of ["check", "gc"])
    await assert.rejects(weft(t, "ipam", command, ...agent), { code: "forbidden", message: /Unix socket only/ });
  assert.match((await weft(t, "ipam", "show", ...agent)).text, /9\.0\.1\.0\/25/);
  assert.match((await weft(t, "endpoints", ...agent)).text, /^CONTAINER/);
});

test("capacity and marks are metrics", async (t) => {
  const host = await startHost(t);
  await attach(host, "c1");
  const text = await (await fetch(`http://${host.agent.address}/metrics`)).text();
  const labels = 'network="dcos",family="4",half="9.0.1.0/25",runtime="cni"';
  for (const [state, count] of Object.entries({ free: 124, used: 1, resting: 0 }))
    assert.ok(text.includes(`weft_agent_addresses{${labels},state="${state}"} ${count}\n`), text);
  assert.match(text, /^weft_agent_address_marks\{percent="80"\} 0$/m);
  assert.match(text, /^# TYPE weft_agent_addresses_given_early_total counter$/m);
});

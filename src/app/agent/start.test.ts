import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { callBody } from "../../../test/support/cni.ts";
import { NOBODY_ELSE } from "../../../test/support/host-world.ts";
import { newSigner } from "../../../test/support/trust.ts";
import { FakeMachine } from "../../io/kernel/fake-kernel.ts";
import { SILENT_LOG } from "../../io/log.ts";
import { SimClock } from "../../io/sim-clock.ts";
import { SimNetwork } from "../../io/sim-udp.ts";
import { openMemoryAgentStore } from "../../io/store/memory-store.ts";
import { ip } from "../../model/ip.ts";
import { startAgent } from "./start.ts";

const OPTIONS = {
  ip: ip("10.0.0.11"),
  hostname: "host1",
  networkConfig: { allocateSubnet: true, mesosBridge: true, dockerBridge: true },
  listen: "127.0.0.1:0",
  gossipPort: 0,
  version: "0",
};
const ADD = callBody({ command: "ADD", containerId: "c1", netns: "/run/netns/c1", cniVersion: "0.4.0" });

interface Answer {
  readonly status: number | undefined;
  // biome-ignore lint/suspicious/noExplicitAny: a test reads whatever JSON came
  readonly json: any;
}

function ask(socketPath: string, path: string, body?: Uint8Array): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath, path, method: body === undefined ? "GET" : "POST" }, async (response) => {
      const text = Buffer.concat(await response.toArray()).toString();
      resolve({ status: response.statusCode, json: text === "" ? "" : JSON.parse(text) });
    });
    asked.on("error", reject).end(body);
  });
}

test("a runtime that calls while the agent starts is told to try again at once, everybody else waits", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "weft-start-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const socketPath = join(folder, "agent.sock");
  const kernel = new FakeMachine().kernel();
  kernel.addDevice("eth0", ["10.0.0.11/24"]);
  const reading = Promise.withResolvers<void>();
  const asked = Promise.withResolvers<void>();
  const observe = kernel.observe.bind(kernel);
  kernel.observe = async (paths) => {
    asked.resolve();
    await reading.promise;
    return observe(paths);
  };
  const starting = startAgent(
    { ...OPTIONS, socketPath },
    {
      kernel,
      store: openMemoryAgentStore(),
      ...NOBODY_ELSE,
      udp: new SimNetwork(new SimClock()).host(ip("10.0.0.11")),
      signer: newSigner(),
      clock: new SimClock(),
      random: { fraction: () => 0.5, uuid: () => "0" },
      log: SILENT_LOG,
      client: {
        register: () => new Promise(() => {}),
        reportStatus: async () => ({ reassigned: false, exhausted: [] }),
      },
      onFatal: (fault) => assert.fail(fault),
      onBug: (thrown) => assert.fail(String(thrown)),
    },
  );
  await asked.promise;

  const early = await ask(socketPath, "/v1/cni", ADD);
  assert.equal(early.status, 503);
  assert.deepEqual([early.json.cniVersion, early.json.code], ["0.4.0", 11]);
  assert.match(early.json.msg, /agent of this host is starting/);
  const status = await ask(socketPath, "/v1/cni", callBody({ command: "STATUS", containerId: "" }));
  assert.deepEqual([status.status, status.json.code], [503, 50]);
  const wrong = await ask(socketPath, "/v1/cni", callBody({ command: "ADD", containerId: "c1" }));
  assert.deepEqual([wrong.status, wrong.json.code], [400, 4], "what will not change is said now");
  const waits = ask(socketPath, "/v1/status");

  reading.resolve();
  const agent = await starting;
  t.after(() => agent.close());
  assert.equal((await waits).status, 200);
  const { json } = await ask(socketPath, "/v1/cni", ADD);
  assert.match(json.msg, /waiting for its master/, "after the start the agent itself answers");
});

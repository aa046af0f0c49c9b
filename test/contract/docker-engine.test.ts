/** A real daemon, in a lab, and the simulated engine keep the DockerEngine port's contract. */
import assert from "node:assert/strict";
import { after, before } from "node:test";
import { createLab } from "../../src/app/demo/lab.ts";
import { waitFor } from "../../src/app/demo/wait.ts";
import { EngineClient } from "../../src/io/docker/engine-client.ts";
import { SimEngine } from "../../src/io/docker/sim-engine.ts";
import { type DockerHost, dockerSkip, engineHost, startDocker } from "../support/docker.ts";
import { labOrReason } from "../support/lab.ts";
import { hostOf } from "../support/lab-cluster.ts";
import { imageTar } from "../support/podman.ts";
import { dockerEngineContract, type EngineUnderTest, LABELS, PORT } from "./docker-engine-contract.ts";

const PATIENCE_MS = 10_000;
const skip = dockerSkip() ?? (await labOrReason());
const until: EngineUnderTest["until"] = async (what, condition) => {
  await waitFor(what, PATIENCE_MS, async () => condition() || undefined);
};

let host: DockerHost | undefined;
before(async () => {
  if (skip !== undefined) return;
  const lab = await createLab({ hosts: 1 });
  host = await startDocker(engineHost(hostOf(lab, 1)), await imageTar());
});
after(() => host?.machine.stop());

function realEngine(): EngineUnderTest {
  assert.ok(host !== undefined);
  const { docker } = host;
  const engine = new EngineClient({ socket: docker.socket });
  const labels = Object.entries(LABELS).flatMap(([key, value]) => ["--label", `${key}=${value}`]);
  return {
    engine,
    start: async (name, networks, isChecked = false) => {
      const where = networks.map((network) => `--network=${network}`);
      const check = isChecked ? ["--health-cmd", "true", "--health-interval", "1s"] : [];
      const given = where.length === 0 ? ["--network=none"] : where;
      const run = [
        "run",
        "--detach",
        "--rm",
        "--name",
        name,
        ...given,
        ...check,
        ...labels,
        "--expose",
        `${PORT.containerPort}`,
      ];
      return (await docker.mustRun([...run, "who", "sleep", "1000"])).trim();
    },
    becomeHealthy: async (name) => {
      await waitFor("it to be healthy", PATIENCE_MS, async () => {
        const state = await docker.mustRun(["inspect", name, "--format", "{{.State.Health.Status}}"]);
        return state.trim() === "healthy" || undefined;
      });
    },
    stop: async (name) => {
      await docker.mustRun(["stop", "--time", "0", name]);
    },
    halt: () => docker.stop(),
    resume: () => docker.start(),
    until,
  };
}

const simulated = new SimEngine();

dockerEngineContract("docker.io", realEngine, skip);
dockerEngineContract("simulated", () => ({
  engine: simulated,
  start: async (name, networks, isChecked = false) =>
    simulated.start(name, {
      networks,
      labels: LABELS,
      ports: [PORT],
      ...(isChecked && { health: "starting" }),
    }),
  becomeHealthy: async (name) => simulated.setHealth(name, "healthy"),
  stop: async (name) => simulated.stop(name),
  halt: async () => simulated.halt(),
  resume: async () => simulated.resume(),
  until,
}));

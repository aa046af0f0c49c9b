/** The list of tasks follows the simulated engine: soon after an event, once for all that came together. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as settle } from "node:timers/promises";
import type { Task } from "../../../core/docker/tasks.ts";
import { SimEngine } from "../../../io/docker/sim-engine.ts";
import { SILENT_LOG } from "../../../io/log.ts";
import { SimClock } from "../../../io/sim-clock.ts";
import { ENGINE_DEBOUNCE_MS, ENGINE_RETRY_MAX_MS } from "../../../model/engine-limits.ts";
import { DockerTasks } from "./docker-tasks.ts";

function rig() {
  const engine = new SimEngine();
  const clock = new SimClock();
  const told: (readonly Task[])[] = [];
  const tasks = new DockerTasks({ engine, clock, log: SILENT_LOG, onTasks: (each) => told.push(each) });
  const pass = async (ms = ENGINE_DEBOUNCE_MS) => {
    await settle();
    clock.advance(ms);
    await settle();
  };
  return { engine, clock, tasks, told, pass, names: () => told.map((each) => each.map(({ name }) => name)) };
}

test("tasks are told when they are others than before, those that came together at once", async () => {
  const { engine, tasks, pass, names, told } = rig();
  engine.start("first");
  tasks.start();
  await settle();
  engine.start("second");
  engine.start("third", { health: "starting" });
  await pass();
  assert.deepEqual(names(), [["first"], ["first", "second", "third"]]);
  engine.setHealth("third", "healthy");
  await pass();
  assert.deepEqual(
    told.at(-1)?.map(({ health }) => health),
    [undefined, undefined, "healthy"],
  );
  engine.setHealth("third", "healthy");
  await pass();
  assert.equal(told.length, 3, "nothing is new");
  engine.stop("first");
  await pass();
  assert.deepEqual(names().at(-1), ["second", "third"]);
  assert.equal(tasks.tasks(), told.at(-1));
});

test("what an engine had when it went away stays known until it tells anew", async () => {
  const { engine, tasks, pass, names } = rig();
  engine.start("web");
  tasks.start();
  await settle();
  engine.halt();
  await pass();
  await pass(ENGINE_RETRY_MAX_MS);
  assert.deepEqual(names(), [["web"]]);
  engine.resume();
  await pass(ENGINE_RETRY_MAX_MS);
  assert.deepEqual(names(), [["web"], []]);
});

test("after a stop nothing is told any more", async () => {
  const { engine, tasks, clock, pass, told } = rig();
  tasks.start();
  await settle();
  engine.start("web");
  await settle();
  tasks.stop();
  await pass();
  assert.deepEqual(told, []);
  assert.equal(clock.pending, 0);
});

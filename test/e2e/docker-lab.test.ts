/**
 * What other tests rely on when they have Docker in a lab: engines that know nothing of each other, with and without their
 * own firewall rules, whose namespaces the lab sees, and of which nothing stays.
 */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { after, before, suite, test } from "node:test";
import { createLab } from "../../src/app/demo/lab.ts";
import { type DockerHost, dockerSkip, engineHost, startDocker } from "../support/docker.ts";
import { labOrReason } from "../support/lab.ts";
import { hostOf } from "../support/lab-cluster.ts";
import { imageTar } from "../support/podman.ts";

const skip = dockerSkip() ?? (await labOrReason());

suite("Docker in a lab", { skip }, () => {
  let engines: readonly DockerHost[] = [];

  before(async () => {
    const lab = await createLab({ hosts: 2 });
    const tar = await imageTar();
    engines = await Promise.all(
      [1, 2].map((number) => startDocker(engineHost(hostOf(lab, number)), tar, { iptables: number === 1 })),
    );
  });

  after(async () => {
    for (const { machine, docker } of engines) {
      await machine.stop();
      assert.deepEqual(docker.namespaces, []);
      assert.ok(!existsSync(docker.execRoot), "its mounts are gone");
    }
  });

  test("a container of each answers on its engine's own bridge", async () => {
    for (const engine of engines) {
      const { bridge } = await engine.start("web", "--publish", "8080:80");
      assert.deepEqual(bridge, ["172.17.0.2"]);
      assert.equal(await engine.askFromHost("172.17.0.2", 80), "172.17.0.1");
      assert.equal(await engine.askFromHost("127.0.0.1", 8080), "172.17.0.1");
      assert.deepEqual(engine.docker.namespaces.map(existsSync), [true]);
    }
  });

  test("the engine makes firewall rules where it may", async () => {
    for (const [i, { machine }] of engines.entries()) {
      const rules = await machine.mustRun("iptables-save", []);
      assert.equal(/DOCKER-USER/.test(rules), i === 0);
    }
  });

  test("a daemon is killed and comes back alone", async () => {
    for (const engine of engines) {
      const held = await engine.machine.mustRun("pidof", ["containerd"]);
      await engine.docker.stop("SIGKILL");
      await engine.docker.start(["--live-restore"]);
      assert.equal(await engine.machine.mustRun("pidof", ["containerd"]), held);
      assert.match(await engine.do("ps", "--all", "--format", "{{.Names}} {{.State}}"), /^web /);
    }
  });
});

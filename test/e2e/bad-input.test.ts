import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { LAB_DIR } from "../../src/app/demo/enter-lab.ts";
import { mustRun, Netns, type Output } from "../../src/app/demo/netns.ts";
import { type CniError, callCni } from "../../src/app/demo/runtime.ts";
import { WEFT } from "../../src/app/demo/weft-process.ts";
import { REGISTRATION_IDENTITY_GRACE_MS } from "../../src/model/limits.ts";
import { labOrReason } from "../support/lab.ts";
import { agentOf, type Cluster, configFile, createCluster, hostOf, weft } from "../support/lab-cluster.ts";

const skip = await labOrReason();

const OVERLAY = "dcos_overlay_network:\n  vtep_subnet: 44.128.0.0/20\n  vtep_mac_oui: 70:B3:D5:00:00:00\n  overlays:\n";
const ONE_LINE = /^weft: [^\n]+\n$/;

/** A program that must refuse to start, on host 1. */
function refused(cluster: Cluster, args: readonly string[]): Promise<Output> {
  return hostOf(cluster.lab, 1).run(WEFT, args, { timeoutMs: 10_000 });
}

function masterArgs(name: string, config: string, ...more: readonly string[]): string[] {
  const folder = join(LAB_DIR, name);
  const files = ["--data-dir", folder, "--socket", join(folder, "master.sock"), "--listen", "127.0.0.1:6050"];
  return ["master", "--config", configFile(config, `${name}.yaml`), ...files, ...more];
}

function agentArgs(cluster: Cluster, name: string, ...more: readonly string[]): string[] {
  const folder = join(LAB_DIR, name);
  const files = ["--data-dir", folder, "--socket", join(folder, "agent.sock"), "--listen", "127.0.0.1:6051"];
  const identity = ["--master", cluster.master.url, "--ip", "10.0.0.11", "--cni-conf-dir", join(folder, "net.d")];
  return ["agent", ...identity, ...files, ...more];
}

test("each bad input gives one clear message, an exit status, and nothing half done", { skip }, async (t) => {
  const cluster = await createCluster({ hosts: 3, agents: 1 });
  const agent = agentOf(cluster, 1);
  const host = hostOf(cluster.lab, 1);
  const links = () => host.mustRun("ip", ["-o", "link"]);

  await t.test("broken YAML", async () => {
    const { status, stderr } = await refused(cluster, masterArgs("yaml", "dcos_overlay_network: [\n"));
    assert.match(stderr, /^weft: .*yaml\.yaml.*\n/);
    assert.match(stderr, /line \d/);
    assert.equal(status, 78);
  });

  await t.test("a name of 14 bytes, all problems at once", async () => {
    const config = `${OVERLAY}    - { name: abcdefghijklmn, subnet: 9.0.0.0/8, prefix: 24 }\n    - { name: b, subnet: 10.0.0.1/8 }\n`;
    const { status, stderr } = await refused(cluster, masterArgs("name", config));
    assert.match(stderr, /overlays\[0\]\.name: .*14 bytes.*13/);
    assert.match(stderr, /overlays\[1\]\.subnet: .*10\.0\.0\.0\/8/);
    assert.match(stderr, /overlays\[1\]\.prefix: .*missing/);
    assert.equal(status, 78);
  });

  await t.test("an unknown network in a CNI call", async () => {
    const { confDir } = agent;
    writeFileSync(join(confDir, "other.conflist"), otherConflist(agent.socket));
    const netns = await Netns.create("lost");
    const before = await links();
    const { status, reply } = await callCni(agent, "ADD", "nosuch", {
      containerId: "lost",
      netns: netns.path,
      ifname: "eth0",
    });
    assert.notEqual(status, 0);
    assert.match((reply as CniError).msg, /nosuch.*dcos/);
    assert.equal((reply as CniError).code, 107);
    assert.equal(await links(), before);
  });

  await t.test("a network namespace path that is none", async () => {
    const before = await links();
    for (const path of ["/run/netns/absent", "/etc/hostname"]) {
      const { status, reply } = await callCni(agent, "ADD", "dcos", { containerId: "x", netns: path, ifname: "eth0" });
      assert.notEqual(status, 0);
      assert.equal((reply as CniError).code, 4);
      assert.ok((reply as CniError).msg.includes(path), JSON.stringify(reply));
    }
    assert.equal(await links(), before);
    assert.deepEqual(await agent.get("/v1/attachments"), { attachments: [] });
  });

  await t.test("a second agent with the same identity", async () => {
    const twin = join(LAB_DIR, "twin");
    await mustRun("cp", ["-r", agent.folder, twin]);
    const bare = hostOf(cluster.lab, 3);
    const { status, stderr } = await bare.run(WEFT, agentArgs(cluster, "twin", "--ip", bare.address), {
      timeoutMs: REGISTRATION_IDENTITY_GRACE_MS + 20_000,
    });
    const last = stderr.trim().split("\n").at(-1) ?? "";
    assert.match(last, /^weft: .*connected from 10\.0\.0\.11.*10\.0\.0\.13.*same identity; stop one of them/);
    assert.equal(status, 1);
    assert.doesNotMatch(await bare.mustRun("ip", ["-o", "link"]), /vtep1024|m-dcos/);
    await agent.ready();
  });

  await t.test("a taken port", async () => {
    const { status, stderr } = await refused(
      cluster,
      masterArgs("port", "", "--listen", "0.0.0.0:5050", "--gossip", "10.0.0.11:0"),
    );
    assert.match(stderr, ONE_LINE);
    assert.match(stderr, /0\.0\.0\.0:5050/);
    assert.equal(status, 69);
  });

  await t.test("a data folder that is in use", async () => {
    const files = ["--data-dir", cluster.master.folder, "--socket", join(LAB_DIR, "m2.sock")];
    const config = configFile("");
    const { status, stderr } = await refused(cluster, [
      "master",
      "--config",
      config,
      "--listen",
      "127.0.0.1:6050",
      ...files,
    ]);
    assert.match(stderr, ONE_LINE);
    assert.notEqual(status, 0);
  });

  await t.test("an address that no device has", async () => {
    const { status, stderr } = await refused(cluster, agentArgs(cluster, "noip", "--ip", "10.9.9.9"));
    assert.match(stderr, /^weft: .*10\.9\.9\.9.*--ip.*\n$/);
    assert.equal(status, 64);
  });

  await t.test("a corrupt database file", async () => {
    const { status: created } = await hostOf(cluster.lab, 1).run("sh", [
      "-c",
      `cp -r ${cluster.master.folder} ${LAB_DIR}/bad; rm -f ${LAB_DIR}/bad/*-wal ${LAB_DIR}/bad/*-shm ${LAB_DIR}/bad/*.sock; for f in ${LAB_DIR}/bad/*.db ${LAB_DIR}/bad/*.sqlite; do [ -f $f ] && head -c 8192 /dev/urandom > $f; done; true`,
    ]);
    assert.equal(created, 0);
    const { status, stderr } = await refused(cluster, masterArgs("bad", ""));
    assert.match(stderr, ONE_LINE);
    assert.ok(stderr.includes(join(LAB_DIR, "bad")), stderr);
    assert.equal(status, 65);
  });

  await t.test("a full disk", async () => {
    const full = join(LAB_DIR, "full");
    mkdirSync(full);
    await mustRun("mount", ["-t", "tmpfs", "-o", "size=4k", "tmpfs", full]);
    writeFileSync(join(full, "filler"), Buffer.alloc(4096));
    const { status, stderr } = await refused(cluster, masterArgs("full", ""));
    assert.match(stderr, ONE_LINE);
    assert.ok(stderr.includes(full), stderr);
    assert.equal(status, 74);
  });

  await t.test("no rights", async () => {
    const without = ["--bounding-set=-all", "--inh-caps=-all"];
    const { status, stderr } = await host.run("setpriv", [...without, WEFT, ...agentArgs(cluster, "norights")], {
      timeoutMs: 10_000,
    });
    assert.match(stderr, /^weft: .*(CAP_NET_ADMIN|root).*\n$/);
    assert.equal(status, 77);
  });

  await t.test("nobody answers", async () => {
    const { status, stderr } = await weft(["status", "--master", "unix:/run/weft/none.sock"]);
    assert.match(stderr, ONE_LINE);
    assert.match(stderr, /no master answers at unix:\/run\/weft\/none\.sock.*weft master/);
    assert.equal(status, 75);
  });

  await t.test("a mistyped option", async () => {
    const { status, stderr } = await weft(["status", "--mastr", "x"]);
    assert.match(stderr, /^weft: unknown option '--mastr'/);
    assert.equal(status, 64);
  });
});

function otherConflist(socket: string): string {
  const plugin = { type: "weft-cni", network: "nosuch", weft_socket: socket };
  return JSON.stringify({ cniVersion: "1.0.0", name: "nosuch", plugins: [plugin] });
}

/**
 * The real programs join, on hosts of a lab: what passes on the wire, what the list of processes and the logs show, and
 * what operators do about tokens, from the master's host and from afar.
 */
import assert from "node:assert/strict";
import { readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { LAB_DIR } from "../../src/app/demo/enter-lab.ts";
import { waitFor } from "../../src/app/demo/wait.ts";
import { Agent, Master, WEFT } from "../../src/app/demo/weft-process.ts";
import { tokenKeyOf } from "../../src/io/crypto/call-keys.ts";
import { openAgentStore } from "../../src/io/store/sqlite-store.ts";
import { readTokenFile } from "../../src/io/token-file.ts";
import { parseToken } from "../../src/model/trust/token.ts";
import { labOrReason } from "../support/lab.ts";
import { type Cluster, configFile, createCluster, hostOf, weft } from "../support/lab-cluster.ts";
import { RawSocket } from "../support/packet-socket.ts";

const skip = await labOrReason();
const WAIT_MS = 15_000;

function secretFile(name: string, text: string, mode = 0o600): string {
  const path = join(LAB_DIR, name);
  rmSync(path, { force: true });
  writeFileSync(path, text, { mode });
  return path;
}

/** An agent on host 2 with a folder of its own. */
function agentOn2(cluster: Cluster, name: string, joinTokenFile: string | undefined, ...args: string[]): Agent {
  const host = hostOf(cluster.lab, 2);
  const masters = [cluster.master.url];
  const more = { ...(joinTokenFile !== undefined && { joinTokenFile }), args: ["--log-level", "debug", ...args] };
  return new Agent({ host, folder: join(LAB_DIR, name), masters, ...more });
}

async function ok(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await weft(args);
  assert.equal(status, 0, stderr);
  return stdout;
}

test("a host joins by a token that nobody sees, and is let in by its key from then on", { skip }, async (t) => {
  const cluster = await createCluster({ hosts: 2, agents: 0 });
  const { master, lab } = cluster;
  const host2 = hostOf(lab, 2);
  const token = readTokenFile(master.joinTokenFile, "join", "");
  const folder = join(LAB_DIR, "first");

  await t.test("no secret on the wire, in arguments or in logs", async () => {
    const wire = RawSocket.onDevice(host2.path, "eth0");
    const agent = agentOn2(cluster, "first", master.joinTokenFile);
    await agent.start();
    await agent.ready();
    const arguments_ = await host2.mustRun("sh", [
      "-c",
      "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' '\\n'",
    ]);
    const heard = Buffer.concat(wire.received()).toString("latin1");
    wire.close();
    const logs = agent.log + master.log;
    await agent.stop();
    const store = openAgentStore(folder);
    const keys = store.membership()?.keys.keys ?? [];
    store.close();
    assert.ok(heard.includes("weft-proof: v1 nonce=") && heard.includes(token.id), "the exchange was heard");
    assert.ok(arguments_.includes("--join-token-file") && logs.includes("registered"), "arguments and logs were read");
    const secrets = [token.secret, tokenKeyOf(token.secret), ...keys.map(({ key }) => key)];
    assert.equal(secrets.length, 3);
    for (const bytes of secrets)
      for (const encoding of ["base64url", "base64", "hex", "latin1"] as const)
        for (const [where, text] of Object.entries({ heard, arguments_, logs }))
          assert.ok(!text.includes(Buffer.from(bytes).toString(encoding)), `${where}, ${encoding}`);
    for (const [dir, names] of [
      [folder, ["agent.db", "identity.key"]],
      [master.folder, ["master.db", "cluster.key", "identity.key", "join-token"]],
    ] as const)
      for (const name of names) assert.equal(statSync(join(dir, name)).mode & 0o777, 0o600, name);
  });

  await t.test("a member comes back without its token", async () => {
    const agent = agentOn2(cluster, "first", undefined);
    await agent.start();
    await waitFor("it to register", WAIT_MS, async () =>
      / registered /.test(agent.log.split("agent ends").at(-1) ?? "") ? true : undefined,
    );
    await agent.stop();
  });

  await t.test("what is wrong with a token's file ends the agent with one line", async () => {
    const text = readFileSync(master.joinTokenFile, "utf8");
    const rows: [string, RegExp, number][] = [
      [join(LAB_DIR, "absent"), /there is no file .*absent/, 64],
      [secretFile("noise", "noise"), /noise holds no token/, 64],
      [secretFile("open", text, 0o644), /open has mode 0644/, 77],
      [text.trim(), /wants the name of a file, and got a token/, 64],
    ];
    for (const [file, message, exit] of rows) {
      const dir = ["--data-dir", join(LAB_DIR, "bad"), "--socket", join(LAB_DIR, "bad.sock"), "--cni-conf-dir", ""];
      const args = ["agent", "--master", master.url, "--ip", "10.0.0.12", ...dir, "--join-token-file", file];
      const { status, stderr } = await host2.run(WEFT, args, { timeoutMs: 10_000 });
      assert.match(stderr, message);
      assert.match(stderr, /^weft: [^\n]+\n$/);
      assert.equal(status, exit);
      assert.ok(!stderr.includes(token.id) || file !== text.trim(), "the token is not repeated");
    }
  });

  await t.test("a token of one use, then none; a revoked one; each refusal is logged with its reason", async () => {
    const args = ["--master", master.address];
    const once = secretFile("once", await ok("token", "create", "--uses", "1", "--note", "host 2", ...args));
    const taken = secretFile("taken", await ok("token", "create", ...args));
    await ok("token", "revoke", parseToken(readFileSync(taken, "utf8"))?.id ?? "", ...args);
    const list = await ok("token", "list", ...args);
    for (const word of ["host 2", "0 of 1", "revoked", "valid", token.id]) assert.ok(list.includes(word), word);
    for (const file of [once, taken, master.joinTokenFile])
      assert.ok(!list.includes(readFileSync(file, "utf8").trim().slice(-43)));
    const good = agentOn2(cluster, "second", once);
    await good.start();
    await good.ready();
    await good.stop();
    for (const [name, file, reason] of [
      ["third", once, /is used up \(1 of 1\)/],
      ["fourth", taken, /was revoked/],
      ["fifth", undefined, /--join-token-file/],
    ] as const) {
      const agent = agentOn2(cluster, name, file);
      await agent.start();
      await waitFor(`${name} to be refused`, WAIT_MS, async () => (reason.test(agent.log) ? true : undefined));
      await agent.stop();
    }
  });

  await t.test("from afar an operator's token removes an agent and changes the key; nothing else does", async () => {
    const operator = secretFile("operator", await ok("token", "create", "--operator", "--master", master.address));
    const afar = (...args: string[]) => host2.run(WEFT, [...args, "--master", master.url], { timeoutMs: 10_000 });
    const agents = JSON.parse((await afar("agents", "--json")).stdout) as { id: string }[];
    const [{ id } = { id: "" }] = agents;
    for (const [args, exit] of [
      [["agents", "remove", id], 77],
      [["agents", "remove", id, "--operator-token-file", master.joinTokenFile], 64],
      [["gossip", "rotate-key"], 77],
      [["token", "list"], 77],
      [["token", "create", "--operator-token-file", operator], 64],
    ] as const)
      assert.equal((await afar(...args)).status, exit, args.join(" "));
    const removed = await afar("agents", "remove", id, "--operator-token-file", operator);
    assert.equal(removed.status, 0, removed.stderr);
    const rotated = await afar("gossip", "rotate-key", "--operator-token-file", operator);
    assert.match(rotated.stdout, /and do not send with it yet\nkey 1: sent with\nkey 2: next/);
    assert.match((await afar("gossip", "keys")).stdout, /a change is under way: members (get|send)/);
  });

  await t.test(
    "an agent of another cluster is refused by its own memory, until it is told to change over",
    async () => {
      const folder = join(LAB_DIR, "other-master");
      const listen = `${lab.hosts[0]?.address}:6050`;
      const args = ["--listen", listen, "--gossip", `${lab.hosts[0]?.address}:6502`];
      const other = new Master({ host: hostOf(lab, 1), folder, config: configFile(""), args });
      await other.start();
      const file = secretFile("other-token", readFileSync(other.joinTokenFile, "utf8"));
      const elsewhere = {
        ...cluster,
        master: Object.assign(Object.create(other) as Master, { url: `http://${listen}` }),
      };
      const faithful = agentOn2(elsewhere, "first", file);
      await faithful.start();
      await waitFor("it to see that", WAIT_MS, async () =>
        /it is the master of another cluster .*--new-cluster/.test(faithful.log) ? true : undefined,
      );
      await faithful.stop();
      const moved = agentOn2(elsewhere, "first", file, "--new-cluster");
      await moved.start();
      await waitFor("it to be a member there", WAIT_MS, async () =>
        /agent registered/.test(other.log) ? true : undefined,
      );
      await moved.stop();
      await other.stop();
    },
  );

  await t.test("who was removed is refused, and comes back by a new token", async () => {
    const agent = agentOn2(cluster, "second", master.joinTokenFile);
    await agent.start();
    await waitFor("it to be refused", WAIT_MS, async () =>
      /was removed from this cluster/.test(agent.log) ? true : undefined,
    );
    await agent.stop();
    const fresh = secretFile("fresh", await ok("token", "create", "--ttl", "10m", "--master", master.address));
    const again = agentOn2(cluster, "second", fresh);
    await again.start();
    await again.ready();
    await again.stop();
  });
});

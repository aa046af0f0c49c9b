/**
 * What weft-cni does, in one table that runs against the static program and against the script; and noise against a
 * build of the program with sanitizers.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it, type TestContext } from "node:test";
import fc from "fast-check";
import { type StubAnswer, startStubAgent } from "../../../test/support/stub-agent.ts";
import { decodeCall } from "../../core/cni/call.ts";
import { CNI_VERSIONS } from "../../core/cni/version.ts";
import { Fault } from "../../model/fault.ts";
import { CNI_CALL_MAX_BYTES } from "../../model/limits.ts";
import { buildShim, SHIM_SCRIPT } from "./build-shim.ts";

interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

type Program = readonly [string, ...string[]];
type Environment = Readonly<Record<string, string>>;

const ENVIRONMENT: Environment = {
  CNI_COMMAND: "ADD",
  CNI_CONTAINERID: "c1",
  CNI_IFNAME: "eth0",
  CNI_NETNS: "/run/netns/c1",
  CNI_ARGS: "IgnoreUnknown=1",
  PATH: "/usr/bin",
};
const configFor = (socketPath: string) =>
  JSON.stringify({ cniVersion: "0.4.0", name: "dcos", type: "weft-cni", weft_socket: socketPath });

function run([command, ...args]: Program, env: Environment, stdin: string | Uint8Array): Promise<Outcome> {
  const child = spawn(command, args, { env, stdio: ["pipe", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (chunk) => {
    stdout += chunk;
  });
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
  });
  child.stdin.on("error", () => {}); // it may refuse before it has read all
  child.stdin.end(stdin);
  return new Promise((resolve) => child.on("close", (status) => resolve({ status, stdout, stderr })));
}

/** The program under another name. The script's wrapper tells it its own. */
function calledAs(t: TestContext, program: Program, name: string): readonly string[] {
  if (program.length > 1) return [...program, `/opt/cni/bin/${name}`];
  const folder = mkdtempSync(join(tmpdir(), "weft-shim-name-"));
  t.after(() => rmSync(folder, { recursive: true }));
  symlinkSync(program[0], join(folder, name));
  return [join(folder, name)];
}

function behaviours(program: Program): void {
  /** Calls with an agent that answers so. */
  const call = async (t: TestContext, answers: readonly StubAnswer[], env: Environment = {}) => {
    const agent = await startStubAgent(t, answers);
    const outcome = await run(program, { ...ENVIRONMENT, ...env }, configFor(agent.socketPath));
    assert.equal(outcome.stderr, "");
    return { ...outcome, ...agent };
  };
  const refusal = async (env: Environment, stdin: string | Uint8Array) => {
    const { status, stdout, stderr } = await run(program, env, stdin);
    assert.deepEqual([status, stderr], [1, ""]);
    return JSON.parse(stdout) as { cniVersion: string; code: number; msg: string };
  };
  const OK: StubAnswer = { status: 200, body: '{"ips":[]}' };

  it("hands environment and stdin to the agent, and prints what it answers", async (t) => {
    const { status, stdout, requests, socketPath } = await call(t, [OK]);
    assert.deepEqual([status, stdout, requests.length], [0, '{"ips":[]}', 1]);
    const body = requests[0] as Buffer;
    const { call: decoded } = decodeCall(body);
    assert(!(decoded instanceof Fault) && decoded.command === "ADD");
    assert.match(decoded.requestId, /^[0-9a-f]{32}$/);
    assert.equal(decoded.netns, "/run/netns/c1");
    const [frame, config] = body.toString().split("\0\0");
    const names = (frame ?? "").split("\0").map((line) => line.split("=")[0]);
    assert.deepEqual(
      [...new Set(names)].sort(),
      [
        "CNI_ARGS",
        "CNI_COMMAND",
        "CNI_CONTAINERID",
        "CNI_IFNAME",
        "CNI_NETNS",
        "CNI_WEFT_PLUGIN",
        "CNI_WEFT_REQUEST_ID",
        "CNI_WEFT_RUNTIME",
      ],
      "CNI variables and nothing else",
    );
    assert.equal(config, configFor(socketPath));
  });

  it("exits by the status of the answer", async (t) => {
    const refused = await call(t, [{ status: 404, body: '{"code":107}' }]);
    assert.deepEqual([refused.status, refused.stdout], [1, '{"code":107}']);
    const empty = await call(t, [{ status: 200 }], { CNI_COMMAND: "DEL" });
    assert.deepEqual([empty.status, empty.stdout], [0, ""]);
  });

  it("sends the call again with the same id when the connection breaks, the answer is cut off, the agent restarts or is not ready", async (t) => {
    const troubles: StubAnswer[] = [
      "breaks",
      { status: 200, body: '{"i', contentLength: 9 },
      "restarts",
      { status: 503, body: "{}" },
    ];
    // Each by itself: all of them together are more than the second that a call has, where the machine is busy.
    for (const trouble of troubles) {
      const { status, stdout, requests } = await call(t, [trouble, OK]);
      assert.deepEqual([status, stdout, requests.length], [0, '{"ips":[]}', 2], JSON.stringify(trouble));
      assert.equal(new Set(requests.map(String)).size, 1, "byte for byte the same call");
    }
  });

  it("gives each call an id of its own, whatever the environment says", async (t) => {
    const env = { CNI_WEFT_REQUEST_ID: "mine" };
    const [one, two] = await Promise.all([call(t, [OK], env), call(t, [OK], env)]);
    const ids = [one, two].map(({ requests }) => {
      const { call: decoded } = decodeCall(requests[0] as Buffer);
      assert(!(decoded instanceof Fault) && decoded.command === "ADD");
      return decoded.requestId;
    });
    assert.notEqual(ids[0], ids[1]);
    assert(!ids.includes("mine"));
  });

  it("does not make STATUS wait", async (t) => {
    const { status, stdout, requests } = await call(t, [{ status: 503, body: '{"code":50}' }], {
      CNI_COMMAND: "STATUS",
    });
    assert.deepEqual([status, stdout, requests.length], [1, '{"code":50}', 1]);
  });

  it("says what an agent says that is still starting, within a second", async (t) => {
    const starting: StubAnswer = { status: 503, body: '{"code":11,"msg":"starting"}' };
    const started = performance.now();
    const { status, stdout, requests } = await call(t, new Array<StubAnswer>(100).fill(starting));
    const seconds = (performance.now() - started) / 1_000;
    assert.deepEqual([status, JSON.parse(stdout).msg], [1, "starting"]);
    assert(requests.length > 1, `${requests.length} tries`);
    assert(seconds > 0.65 && seconds < 5, `${seconds} s`);
  });

  it("tells the agent who called it by which name", async (t) => {
    const linesOf = (requests: readonly Buffer[]) => String(requests[0]).split("\0\0")[0]?.split("\0") ?? [];
    const us = readFileSync("/proc/self/comm", "utf8").trim();
    const plain = linesOf((await call(t, [OK])).requests);
    assert(plain.includes(`CNI_WEFT_RUNTIME=${us}`), plain.join(" "));
    const chosen = linesOf((await call(t, [OK], { CNI_WEFT_RUNTIME: "mine", CNI_WEFT_PLUGIN: "weft-ipam" })).requests);
    assert.deepEqual(
      chosen.filter((line) => line.startsWith("CNI_WEFT_RUNTIME=")),
      ["CNI_WEFT_RUNTIME=mine"],
    );
    assert.notEqual(
      chosen.find((line) => line.startsWith("CNI_WEFT_PLUGIN=")),
      "CNI_WEFT_PLUGIN=weft-ipam",
    );
  });

  it("looks through the plugin that calls it for its addresses", async (t) => {
    const agent = await startStubAgent(t, [OK]);
    // As a shell that goes on afterwards, the caller stays between this process and the program.
    const outcome = await run(
      ["/bin/sh", "-c", '"$@"; exit $?', "sh", ...calledAs(t, program, "weft-ipam")],
      ENVIRONMENT,
      configFor(agent.socketPath),
    );
    assert.deepEqual([outcome.status, outcome.stderr], [0, ""]);
    const us = readFileSync("/proc/self/comm", "utf8").trim();
    assert.match(String(agent.requests[0]), new RegExp(`\0CNI_WEFT_PLUGIN=weft-ipam\0CNI_WEFT_RUNTIME=${us}\0`));
  });

  it("does not wait for ever for a configuration that does not end", async () => {
    const [command, ...args] = program;
    const child = spawn(command, args, { env: ENVIRONMENT, stdio: ["pipe", "pipe", "inherit"] });
    child.stdin.write('{"cniVersion":"0.4.0"');
    const [output] = await Promise.all([child.stdout.toArray(), once(child, "close")]);
    child.stdin.destroy();
    const { code, msg } = JSON.parse(Buffer.concat(output).toString());
    assert.equal(code, 5);
    assert.match(msg, /stdin did not end within 5 seconds/);
    assert.equal(child.exitCode, 1);
  });

  it("says which socket does not answer, and what to do, within a second", async () => {
    const started = performance.now();
    const { code, msg, cniVersion } = await refusal(ENVIRONMENT, configFor("/nowhere/agent.sock"));
    assert.deepEqual([code, cniVersion], [11, "0.4.0"]);
    assert.match(msg, /the weft agent does not answer on \/nowhere\/agent\.sock .*start it/);
    const seconds = (performance.now() - started) / 1_000;
    assert(seconds > 0.65 && seconds < 5, `${seconds} s`);
  });

  it("finds the socket in the configuration first, then in the environment", async (t) => {
    const agent = await startStubAgent(t, [OK, OK]);
    const named = await run(program, { ...ENVIRONMENT, WEFT_SOCKET: "/nowhere" }, configFor(agent.socketPath));
    const inherited = await run(program, { ...ENVIRONMENT, WEFT_SOCKET: agent.socketPath }, '{"cniVersion":"0.4.0"}');
    assert.deepEqual([named.status, inherited.status, agent.requests.length], [0, 0, 2]);
  });

  it("takes weft_socket from the top level only, and reads its escapes", async (t) => {
    const agent = await startStubAgent(t, [OK]);
    const decoys = `"a":{"weft_socket":"/nowhere/1"},"b":[{"weft_socket":"/nowhere/2"}],"c":"\\",\\"weft_socket\\":\\"/nowhere/3"`;
    const config = `{${decoys},\n\t"weft_socket" : "${agent.socketPath.replaceAll("/", "\\/")}" ,"d":"weft_socket","e":1}`;
    assert.equal((await run(program, ENVIRONMENT, config)).status, 0);
  });

  it("refuses a path that is none", async () => {
    for (const path of ["relative", "", `/${"x".repeat(107)}`]) {
      const { code, msg } = await refusal(ENVIRONMENT, configFor(path));
      assert.equal(code, 7);
      assert.match(msg, /weft_socket is no path of a unix socket/);
    }
    assert.equal((await refusal({ ...ENVIRONMENT, WEFT_SOCKET: "relative" }, "{}")).code, 4);
  });

  it("answers VERSION without an agent", async () => {
    const table: [string, string][] = [
      ['{"cniVersion":"0.2.0"}', "0.2.0"],
      ['{"cniVersion":"1.0.0","weft_socket":"/nowhere"}', "1.0.0"],
      ['{"cniVersion":"\\"}', "1.1.0"],
      ['{"cniVersion":"1.0.0 "}', "1.1.0"],
      ['{"cniVersion":100}', "1.1.0"],
      ["", "1.1.0"],
      ["nonsense", "1.1.0"],
    ];
    for (const [stdin, cniVersion] of table) {
      const { status, stdout, stderr } = await run(program, { CNI_COMMAND: "VERSION" }, stdin);
      assert.deepEqual([status, stderr], [0, ""]);
      assert.deepEqual(JSON.parse(stdout), { cniVersion, supportedVersions: [...CNI_VERSIONS] });
    }
  });

  it("refuses a call without a verb, and one that is too long", async () => {
    assert.equal((await refusal({}, "")).code, 4);
    const { code, msg } = await refusal(ENVIRONMENT, Buffer.alloc(CNI_CALL_MAX_BYTES + 1, " "));
    assert.equal(code, 5);
    assert.match(msg, new RegExp(`more than ${CNI_CALL_MAX_BYTES} bytes`));
    const large = Array.from({ length: 11 }, (_, i) => [`CNI_ARG${i}`, "x".repeat(100_000)]);
    assert.equal((await refusal({ ...ENVIRONMENT, ...Object.fromEntries(large) }, "{}")).code, 5);
  });

  it("hands over the longest call there may be", async (t) => {
    const { requests } = await call(t, [OK]);
    const agent = await startStubAgent(t, [OK]);
    const config = configFor(agent.socketPath);
    const frame = (requests[0] as Buffer).length - (requests[0] as Buffer).indexOf("\0\0{") - 2;
    const room = CNI_CALL_MAX_BYTES - ((requests[0] as Buffer).length - frame) - config.length;
    assert.equal((await run(program, ENVIRONMENT, config + " ".repeat(room))).status, 0);
    assert.equal(agent.requests[0]?.length, CNI_CALL_MAX_BYTES);
    assert.equal((await refusal(ENVIRONMENT, config + " ".repeat(room + 1))).code, 5);
  });

  it("says when something else than an agent answers", async (t) => {
    const { status, stdout } = await call(t, [{ status: 404, body: "<html>" }]);
    assert.equal(status, 1);
    const { code, msg } = JSON.parse(stdout);
    assert.equal(code, 5);
    assert.match(msg, /answered HTTP status 404; is it the socket of a weft agent\?/);
  });
}

const built = buildShim();
const needsCompiler = built.path === undefined ? { skip: built.reason } : {};

describe("weft-cni", { concurrency: true }, () => {
  describe("the static program", { concurrency: true, ...needsCompiler }, () => behaviours([built.path ?? ""]));
  describe("the script", { concurrency: true }, () => behaviours([process.execPath, SHIM_SCRIPT]));

  const folder = mkdtempSync(join(tmpdir(), "weft-shim-"));
  after(() => rmSync(folder, { recursive: true }));
  const sanitized = buildShim({
    path: join(folder, "shim-sanitized"),
    compilers: ["cc", "gcc", "clang"], // musl has no sanitizers
    flags: "-g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -Wall -Wextra -Wshadow -Werror".split(" "),
  });
  const needsSanitizers = sanitized.path === undefined ? { skip: sanitized.reason } : {};

  describe("the program with sanitizers", { concurrency: true, ...needsSanitizers }, () => {
    const program: Program = [sanitized.path ?? ""];
    behaviours(program);

    it("reads noise without a word from a sanitizer", async () => {
      const token = fc.constantFrom(
        '"',
        "\\",
        "{",
        "}",
        "[",
        ":",
        ",",
        " ",
        "\0",
        "cniVersion",
        "weft_socket",
        "/x",
        "1.0",
        '"cniVersion":"1.',
        '{"weft_socket":"/a\\',
      );
      const noise = fc.oneof(
        fc.array(token, { maxLength: 30 }).map((tokens) => Buffer.from(tokens.join(""))),
        fc.uint8Array({ maxLength: 300 }),
        fc
          .tuple(fc.stringMatching(/^[0-9.]{0,60}$/), fc.string({ maxLength: 300, size: "max" }))
          .map(([cniVersion, path]) => Buffer.from(JSON.stringify({ cniVersion, weft_socket: `/${path}` }))),
      );
      await fc.assert(
        fc.asyncProperty(noise, async (stdin) => {
          const { status, stdout, stderr } = await run(program, { CNI_COMMAND: "VERSION" }, stdin);
          assert.equal(stderr, "");
          const { supportedVersions, code } = JSON.parse(stdout);
          assert(status === 0 ? supportedVersions.length > 0 : code === 7, stdout);
        }),
        { numRuns: 200, endOnFailure: true },
      );
    });
  });
});

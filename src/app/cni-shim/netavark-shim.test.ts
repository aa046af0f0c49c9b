/**
 * What the executable does as netavark's plugin, in one table that runs against the static program, the script, and a
 * build of the program with sanitizers. What it shares with CNI (retries, deadlines) is in shim.test.ts.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it, type TestContext } from "node:test";
import fc from "fast-check";
import { type StubAnswer, startStubAgent } from "../../../test/support/stub-agent.ts";
import { splitCall } from "../../model/call-frame.ts";
import { CNI_CALL_MAX_BYTES } from "../../model/limits.ts";
import { buildShim, SHIM_SCRIPT } from "./build-shim.ts";

type Program = readonly [string, ...string[]];

const { version: VERSION } = JSON.parse(readFileSync(join(import.meta.dirname, "../../../package.json"), "utf8"));
const OK: StubAnswer = { status: 200, body: '{"interfaces":{}}' };

interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

async function run(
  [command, ...args]: Program,
  arguments_: readonly string[],
  stdin: string | Uint8Array,
  env: Readonly<Record<string, string>> = {},
): Promise<Outcome> {
  const child = spawn(command, [...args, ...arguments_], { env: { PATH: "/usr/bin", ...env } });
  child.stdin.on("error", () => {}); // it may refuse before it has read all
  child.stdin.end(stdin);
  const [out, errors, status] = await Promise.all([
    child.stdout.toArray(),
    child.stderr.toArray(),
    new Promise<number | null>((resolve) => child.on("close", resolve)),
  ]);
  return { status, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(errors).toString() };
}

/** What `setup` and `teardown` get. */
const inNetwork = (socketPath: string) =>
  JSON.stringify({ container_id: "c1", network: { name: "dcos", options: { "weft.socket": socketPath } } });

function behaviours(program: Program): void {
  const refusal = async (
    args: readonly string[],
    stdin: string | Uint8Array,
    env?: Readonly<Record<string, string>>,
  ) => {
    const { status, stdout, stderr } = await run(program, args, stdin, env);
    assert.deepEqual([status, stderr], [1, ""]);
    const json = JSON.parse(stdout);
    assert.deepEqual(Object.keys(json), ["error"], "Podman refuses any other key");
    return json.error as string;
  };
  const call = async (t: TestContext, answers: readonly StubAnswer[], args: readonly string[]) => {
    const agent = await startStubAgent(t, answers);
    const outcome = await run(program, args, inNetwork(agent.socketPath));
    assert.equal(outcome.stderr, "");
    return { ...outcome, ...agent };
  };

  it("hands its arguments and stdin to the agent, and prints what it answers", async (t) => {
    const { status, stdout, requests, paths, socketPath } = await call(t, [OK], ["setup", "/run/netns/c1"]);
    assert.deepEqual([status, stdout, paths], [0, '{"interfaces":{}}', ["/v1/netavark"]]);
    const { environment, stdin } = splitCall(requests[0] as Buffer);
    assert.deepEqual([...environment.keys()].sort(), ["COMMAND", "NETNS", "REQUEST_ID"]);
    assert.deepEqual([environment.get("COMMAND"), environment.get("NETNS")], ["setup", "/run/netns/c1"]);
    assert.match(environment.get("REQUEST_ID") ?? "", /^[0-9a-f]{32}$/);
    assert.equal(Buffer.from(stdin).toString(), inNetwork(socketPath));
  });

  it("exits by the status of the answer", async (t) => {
    const refused = await call(t, [{ status: 404, body: '{"error":"no"}' }], ["teardown", "/x"]);
    assert.deepEqual([refused.status, refused.stdout], [1, '{"error":"no"}']);
    const empty = await call(t, [{ status: 200 }], ["teardown", "/x"]);
    assert.deepEqual([empty.status, empty.stdout], [0, ""]);
  });

  it("sends the call again with the same id when the agent restarts or is not ready", async (t) => {
    const troubles: StubAnswer[] = ["breaks", "restarts", { status: 503, body: '{"error":"starting"}' }];
    // Each by itself: all of them together are more than the second that a call has, where the machine is busy.
    for (const trouble of troubles) {
      const { status, requests } = await call(t, [trouble, OK], ["setup", "/run/netns/c1"]);
      assert.deepEqual([status, requests.length], [0, 2], JSON.stringify(trouble));
      assert.equal(new Set(requests.map(String)).size, 1, "byte for byte the same call");
    }
  });

  it("answers info without an agent, and without reading", async () => {
    const { status, stdout, stderr } = await run(program, ["info"], "", { WEFT_SOCKET: "/nowhere" });
    assert.deepEqual([status, stderr], [0, ""]);
    assert.deepEqual(JSON.parse(stdout), { version: VERSION, api_version: "1.0.0" });
  });

  it("says which socket does not answer, and what to do, within a second", async () => {
    const started = performance.now();
    const message = await refusal(["setup", "/x"], inNetwork("/nowhere/agent.sock"));
    assert.match(message, /the weft agent does not answer on \/nowhere\/agent\.sock .*start it.*weft\.socket=PATH/);
    const seconds = (performance.now() - started) / 1_000;
    assert(seconds > 0.65 && seconds < 5, `${seconds} s`);
  });

  it("finds the socket in the options of the network, there alone, then in the environment", async (t) => {
    const agent = await startStubAgent(t, [OK, OK, OK]);
    const { socketPath } = agent;
    const decoy = {
      "weft.socket": "/nowhere",
      labels: { "weft.socket": "/nowhere" },
      subnets: [{ "weft.socket": "/no" }],
    };
    const options = { a: '"weft.socket":"/nowhere"', "weft.socket": socketPath };
    const whole = { ...decoy, network_options: { options: decoy }, network: { ...decoy, options }, last: decoy };
    const texts = [JSON.stringify({ ...decoy, options }), JSON.stringify(whole, undefined, "\t")];
    for (const text of texts)
      assert.equal((await run(program, ["create"], text, { WEFT_SOCKET: "/nowhere" })).status, 0);
    assert.equal((await run(program, ["create"], JSON.stringify(decoy), { WEFT_SOCKET: socketPath })).status, 0);
    const elsewhere = JSON.stringify({ options: { "weft.socket": "/nowhere" }, network: { name: "dcos" } });
    assert.match(await refusal(["create"], elsewhere, { WEFT_SOCKET: "/nobody" }), /does not answer on \/nobody/);
  });

  it("refuses a path that is none, and a call that is too long", async () => {
    for (const path of ["relative", "", `/${"x".repeat(107)}`])
      assert.match(await refusal(["setup", "/x"], inNetwork(path)), /weft\.socket is no path of a unix socket/);
    const long = Buffer.alloc(CNI_CALL_MAX_BYTES + 1, " ");
    assert.match(await refusal(["setup", "/x"], long), new RegExp(`more than ${CNI_CALL_MAX_BYTES} bytes`));
  });
}

const built = buildShim();

describe("netavark's plugin", { concurrency: true }, () => {
  const needsCompiler = built.path === undefined ? { skip: built.reason } : {};
  describe("the static program", { concurrency: true, ...needsCompiler }, () => behaviours([built.path ?? ""]));
  describe("the script", { concurrency: true }, () => behaviours([process.execPath, SHIM_SCRIPT, "/usr/lib/weft"]));

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
        ...'"\\{}[]:, \0'.split(""),
        "weft.socket",
        "options",
        '"options":{',
        '"network":{"options":{"weft.socket":"x',
        '{"options":{"weft.socket":"\\',
      );
      const noise = fc.oneof(
        fc.array(token, { maxLength: 30 }).map((tokens) => Buffer.from(tokens.join(""))),
        fc.uint8Array({ maxLength: 300 }),
      );
      await fc.assert(
        // Several at a time: those in which no path is found look for an agent until they give up.
        fc.asyncProperty(fc.array(noise, { minLength: 12, maxLength: 12 }), async (texts) => {
          const check = async (text: Uint8Array) => {
            const stdin = Buffer.concat([text, Buffer.from('","weft.socket":"x"}}')]);
            const { status, stdout, stderr } = await run(program, ["teardown", "/x"], stdin, {
              WEFT_SOCKET: "/nowhere",
            });
            assert.deepEqual([status, stderr], [1, ""]);
            assert.equal(typeof JSON.parse(stdout).error, "string");
          };
          await Promise.all(texts.map(check));
        }),
        { numRuns: 8, endOnFailure: true },
      );
    });
  });
});

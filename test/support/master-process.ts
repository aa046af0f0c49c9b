/**
 * The real program `weft master` as a child process, on loopback and on a port that the kernel chose, with its files in a
 * directory of its own. `kill` is SIGKILL; `stop` is SIGTERM and must end cleanly.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { readTokenFile } from "../../src/io/token-file.ts";
import type { Token } from "../../src/model/trust/token.ts";

const MAIN = new URL("../../src/app/cli/main.ts", import.meta.url).pathname;

/** A data directory, a socket and a configuration that several processes use one after another. */
export class MasterHome {
  readonly dir = mkdtempSync(join(tmpdir(), "weft-test-master-"));
  readonly data = join(this.dir, "data");
  readonly socket = join(this.dir, "master.sock");
  readonly config = join(this.dir, "config.yaml");
  readonly #running = new Set<MasterProcess>();
  readonly #children = new Set<ChildProcess>();

  constructor(yaml = "") {
    writeFileSync(this.config, yaml);
  }

  /** The token that the master made at its first start. */
  joinToken(): Token {
    return readTokenFile(join(this.data, "join-token"), "join", "the master's own");
  }

  /** Stops what still runs, then removes the directory. */
  async remove(): Promise<void> {
    for (const master of this.#running) await master.stop();
    rmSync(this.dir, { recursive: true });
  }

  /** As `remove`, without waiting and at any time: for a process that ends by a signal. */
  discard(): void {
    for (const child of this.#children) child.kill("SIGKILL");
    rmSync(this.dir, { recursive: true, force: true, maxRetries: 5 });
  }

  arguments(...more: string[]): string[] {
    const files = ["--config", this.config, "--data-dir", this.data, "--socket", this.socket];
    return ["master", ...files, "--listen", "127.0.0.1:0", "--gossip", "127.0.0.1:0", "--log-format", "json", ...more];
  }

  /** Starts a master and waits until it serves. */
  start(...more: string[]): Promise<MasterProcess> {
    return this.#ready(spawnWeft(this.arguments(...more)));
  }

  /** As `start`, with files that cannot grow over `blocks` of 1,024 bytes: what a full disk looks like. */
  startOnSmallDisk(blocks: number): Promise<MasterProcess> {
    const script = `trap '' XFSZ; ulimit -f ${blocks}; exec "$@"`;
    const weft = [process.execPath, MAIN, ...this.arguments()];
    return this.#ready(spawn("bash", ["-c", script, "-", ...weft], { stdio: ["ignore", "inherit", "pipe"] }));
  }

  /** Starts a master that must refuse to. */
  async refusal(...more: string[]): Promise<{ status: number | null; message: string }> {
    const child = spawnWeft(this.arguments(...more));
    let text = "";
    child.stderr?.setEncoding("utf8").on("data", (piece: string) => {
      text += piece;
    });
    const [status] = (await once(child, "close")) as [number | null];
    return { status, message: text.split("\n").find((line) => line.startsWith("weft: ")) ?? text };
  }

  async #ready(child: ChildProcess): Promise<MasterProcess> {
    this.#children.add(child);
    const url = await urlOf(child);
    const exit = once(child, "exit");
    const end = async (signal: NodeJS.Signals) => {
      child.kill(signal);
      this.#running.delete(master);
      return (await exit) as [number | null, NodeJS.Signals | null];
    };
    const master: MasterProcess = {
      url,
      kill: async () => void (await end("SIGKILL")),
      stop: async () => assert.deepEqual(await end("SIGTERM"), [0, null], "SIGTERM ends cleanly"),
    };
    this.#running.add(master);
    return master;
  }
}

export interface MasterProcess {
  /** `http://127.0.0.1:PORT`. */
  readonly url: string;
  kill(): Promise<void>;
  stop(): Promise<void>;
}

function spawnWeft(args: readonly string[]): ChildProcess {
  return spawn(process.execPath, [MAIN, ...args], { stdio: ["ignore", "inherit", "pipe"] });
}

/** Waits for the line in which the master says where it serves. */
async function urlOf(child: ChildProcess): Promise<string> {
  assert.ok(child.stderr !== null);
  const lines: string[] = [];
  for await (const line of createInterface({ input: child.stderr })) {
    lines.push(line);
    const entry = line.startsWith("{") ? (JSON.parse(line) as { message?: string; address?: string }) : {};
    if (entry.message !== "master serves") continue;
    child.stderr.resume();
    return `http://${entry.address}`;
  }
  return assert.fail(`the master does not serve; it said: ${lines.join("\n")}`);
}

/** One call by a Unix socket. */
export async function callSocket(
  socketPath: string,
  method: string,
  path: string,
): Promise<{ status: number; body: string }> {
  const call = request({ socketPath, method, path });
  call.end();
  const [answer] = await once(call, "response");
  const pieces: Buffer[] = await answer.toArray();
  return { status: answer.statusCode, body: Buffer.concat(pieces).toString() };
}

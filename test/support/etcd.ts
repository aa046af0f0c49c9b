/**
 * A private etcd for tests and benches: members as processes on loopback ports, with their data in a folder that goes
 * with them. Each member can be killed, stopped for a while, and started again at the same place.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { request } from "node:http";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assert } from "../../src/model/fault.ts";

/** Why there is no etcd here, for the `skip` option of a test. */
export function etcdProblem(): string | undefined {
  return spawnSync("etcd", ["--version"]).status === 0 ? undefined : "etcd-server is not installed here";
}

export interface EtcdOptions {
  readonly members?: number;
  /** Further options of etcd itself, for each member. */
  readonly args?: readonly string[];
  /** Certificate and key of the servers, for clients; peers speak plain HTTP on loopback. */
  readonly tls?: { readonly certFile: string; readonly keyFile: string };
}

const READY_MS = 20_000;
const POLL_MS = 50;

export class EtcdMember {
  readonly name: string;
  readonly clientPort: number;
  readonly #command: readonly string[];
  readonly #log: string;
  #process: ChildProcess | undefined;

  constructor(name: string, clientPort: number, command: readonly string[], log: string) {
    this.name = name;
    this.clientPort = clientPort;
    this.#command = command;
    this.#log = log;
  }

  start(): void {
    assert(this.#process === undefined, `${this.name} does not run yet`);
    const log = openSync(this.#log, "a");
    // It dies with this process, whichever way that ends.
    this.#process = spawn("setpriv", ["--pdeathsig", "KILL", "etcd", ...this.#command], {
      stdio: ["ignore", log, log],
    });
  }

  async kill(): Promise<void> {
    const running = this.#process;
    this.#process = undefined;
    if (running === undefined || running.exitCode !== null) return;
    running.kill("SIGKILL");
    await once(running, "exit");
  }

  pause(): void {
    this.#process?.kill("SIGSTOP");
  }

  resume(): void {
    this.#process?.kill("SIGCONT");
  }

  /** The end of what it logged. */
  log(): string {
    return readFileSync(this.#log, "utf8").slice(-4_000);
  }
}

export class TestEtcd {
  readonly members: readonly EtcdMember[];
  readonly #dir: string;
  readonly #scheme: string;

  private constructor(members: readonly EtcdMember[], dir: string, scheme: string) {
    this.members = members;
    this.#dir = dir;
    this.#scheme = scheme;
  }

  static async start({ members: count = 3, args = [], tls }: EtcdOptions = {}): Promise<TestEtcd> {
    const dir = mkdtempSync(join(tmpdir(), "weft-etcd-"));
    const ports = await freePorts(2 * count);
    const names = Array.from({ length: count }, (_, n) => `etcd${n + 1}`);
    const peer = (n: number) => `http://127.0.0.1:${ports[2 * n + 1]}`;
    const cluster = names.map((name, n) => `${name}=${peer(n)}`).join(",");
    const scheme = tls === undefined ? "http" : "https";
    const members = names.map((name, n) => {
      const client = `${scheme}://127.0.0.1:${ports[2 * n]}`;
      const command = [
        ...["--name", name, "--data-dir", join(dir, name), "--unsafe-no-fsync"],
        ...["--listen-client-urls", client, "--advertise-client-urls", client],
        ...["--listen-peer-urls", peer(n), "--initial-advertise-peer-urls", peer(n)],
        ...["--initial-cluster", cluster, "--initial-cluster-token", dir, "--initial-cluster-state", "new"],
        ...["--log-level", "warn", "--logger", "zap"],
        ...(tls === undefined ? [] : ["--cert-file", tls.certFile, "--key-file", tls.keyFile]),
        ...args,
      ];
      return new EtcdMember(name, ports[2 * n] as number, command, join(dir, `${name}.log`));
    });
    const etcd = new TestEtcd(members, dir, scheme);
    for (const member of members) member.start();
    try {
      for (const member of members) await etcd.ready(member);
    } catch (thrown) {
      await etcd.stop();
      throw thrown;
    }
    return etcd;
  }

  /** `127.0.0.1:PORT` of each member. */
  get endpoints(): readonly string[] {
    return this.members.map(({ clientPort }) => `127.0.0.1:${clientPort}`);
  }

  /** Resolves when the member serves. */
  async ready(member: EtcdMember): Promise<void> {
    for (const end = performance.now() + READY_MS; performance.now() < end; await pause(POLL_MS)) {
      if (this.#scheme === "https" && (await connects(member.clientPort))) return;
      if (this.#scheme === "http" && (await isHealthy(member.clientPort))) return;
    }
    throw new Error(`${member.name} is not ready after ${READY_MS / 1000} s: ${member.log()}`);
  }

  /** One call of the JSON gateway, at the first member unless told otherwise; what it answers. Plain HTTP only. */
  async call(
    path: string,
    body: unknown = {},
    member = this.members[0] as EtcdMember,
  ): Promise<Record<string, unknown>> {
    const { promise, resolve, reject } = Promise.withResolvers<Record<string, unknown>>();
    const sent = request(
      { host: "127.0.0.1", port: member.clientPort, path, method: "POST", agent: false },
      (answer) => {
        const chunks: Buffer[] = [];
        answer.on("data", (chunk: Buffer) => chunks.push(chunk));
        answer.on("error", reject);
        answer.on("end", () => {
          const text = Buffer.concat(chunks).toString();
          if (answer.statusCode === 200) resolve(JSON.parse(text) as Record<string, unknown>);
          else reject(new Error(`${path}: ${text}`));
        });
      },
    );
    sent.on("error", reject);
    sent.end(JSON.stringify(body));
    return promise;
  }

  async stop(): Promise<void> {
    await Promise.all(this.members.map((member) => member.kill()));
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

export function pause(ms: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  setTimeout(resolve, ms);
  return promise;
}

export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => once(server.close(), "close")));
  return ports;
}

function isHealthy(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const asked = request({ host: "127.0.0.1", port, path: "/health", agent: false, timeout: 1_000 }, (answer) => {
    let text = "";
    answer.on("data", (chunk: Buffer) => {
      text += chunk.toString();
    });
    answer.on("end", () => resolve(text.includes('"true"')));
  });
  asked.on("timeout", () => asked.destroy());
  asked.on("error", () => resolve(false));
  asked.end();
  return promise;
}

async function connects(port: number): Promise<boolean> {
  const { connect } = await import("node:net");
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect(port, "127.0.0.1");
  socket.once("connect", () => resolve(true));
  socket.once("error", () => resolve(false));
  return promise.finally(() => socket.destroy());
}

/**
 * Weft's own programs in a lab, started by `bin/weft` as anybody would: a master and agents, each with its files in a
 * folder of its own, so that many run on one machine. Killed and started again, they find those files.
 */
import type { ChildProcess } from "node:child_process";
import { mkdirSync, openSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { z } from "zod";
import { callService, parseService, type ServiceName } from "../cli/api-client.ts";
import { type DockerFolders, dockerFolders } from "./docker.ts";
import type { LabHost } from "./lab.ts";
import type { RuntimeHost } from "./runtime.ts";
import { waitFor } from "./wait.ts";

export const WEFT = join(import.meta.dirname, "../../../bin/weft");
const READY_TIMEOUT_MS = 20_000;

export interface ProcessOptions {
  readonly host: LabHost;
  /** For its database, sockets, log and what else it writes. */
  readonly folder: string;
  /** More of the command line. */
  readonly args?: readonly string[];
  /** The executable; absent: this version's. */
  readonly program?: string;
}

export abstract class WeftProcess {
  readonly host: LabHost;
  readonly folder: string;
  /** What the next start runs. */
  program: string;
  readonly #service: ServiceName;
  readonly #args: readonly string[];
  #child: ChildProcess | undefined;

  constructor(service: ServiceName, { host, folder, program = WEFT }: ProcessOptions, args: readonly string[]) {
    this.#service = service;
    this.host = host;
    this.folder = folder;
    this.program = program;
    this.#args = [service, ...args];
    mkdirSync(folder, { recursive: true });
  }

  /** Its own socket, which needs no network: `unix:PATH`. */
  get address(): string {
    return `unix:${this.socket}`;
  }

  get socket(): string {
    return join(this.folder, `${this.#service}.sock`);
  }

  /** What it has written so far. */
  get log(): string {
    return readFileSync(join(this.folder, "log"), "utf8");
  }

  /** What the program is started with. */
  protected get args(): readonly string[] {
    return this.#args;
  }

  /** Starts the program; `args` replace what it was made with. @returns once it answers requests */
  async start(args: readonly string[] = this.args): Promise<void> {
    const log = openSync(join(this.folder, "log"), "a");
    const child = this.host.spawn(this.program, args, { stdio: ["ignore", log, log] });
    this.#child = child;
    // It ends with the lab; whoever made the lab need not wait for it.
    child.unref();
    await waitFor(`the ${this.#service} on ${this.host.name} to answer`, READY_TIMEOUT_MS, async () => {
      if (child.exitCode === null) return (await this.get("/v1/status")) ?? true;
      throw new Error(`it ended with status ${child.exitCode}: ${this.log.trim().split("\n").at(-1)}`);
    });
  }

  /** @returns once the process is gone */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.ref();
    child.kill(signal);
    await gone;
  }

  /** Sends a signal that does not end it, such as SIGSTOP. */
  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  get(path: string): Promise<unknown> {
    return callService(parseService(this.#service, this.address), "GET", path, z.unknown());
  }
}

export class Master extends WeftProcess {
  /** Where agents reach it. */
  readonly url: string;

  constructor(options: ProcessOptions & { readonly config: string }) {
    const { folder, config, args = [] } = options;
    const files = ["--config", config, "--data-dir", folder, "--socket", join(folder, "master.sock")];
    files.push("--gossip", `${options.host.address}:62502`);
    super("master", options, [...files, ...args]);
    this.url = `http://${this.host.address}:5050`;
  }

  /** The file with the join token that it made at its first start. */
  get joinTokenFile(): string {
    return join(this.folder, "join-token");
  }
}

/** The parts of `/overlay-agent/overlay` that a lab looks at. */
interface AgentDocument {
  readonly overlays?: readonly { readonly state?: { readonly status: string; readonly error?: string } }[];
}

export interface AgentProcessOptions extends ProcessOptions {
  readonly masters: readonly string[];
  readonly ip?: string;
  /** What it joins by. */
  readonly joinTokenFile?: string;
}

export class Agent extends WeftProcess implements RuntimeHost, DockerFolders {
  readonly confDir: string;
  readonly binDir: string;
  readonly dockerSocket: string;
  readonly dockerPluginDir: string;

  constructor(options: AgentProcessOptions) {
    const { folder, masters, args = [] } = options;
    const confDir = join(folder, "cni/net.d");
    const files = ["--data-dir", folder, "--socket", join(folder, "agent.sock"), "--cni-conf-dir", confDir];
    const identity = ["--ip", options.ip ?? options.host.address, "--hostname", options.host.name];
    const token = options.joinTokenFile === undefined ? [] : ["--join-token-file", options.joinTokenFile];
    super("agent", options, ["--master", masters.join(","), ...identity, ...files, ...token, ...args]);
    this.confDir = confDir;
    this.binDir = join(dirname(folder), "cni/bin");
    const { dockerSocket, dockerPluginDir } = dockerFolders(folder);
    this.dockerSocket = dockerSocket;
    this.dockerPluginDir = dockerPluginDir;
  }

  /** Versions before know nothing of Docker. */
  protected override get args(): readonly string[] {
    if (this.program !== WEFT) return super.args;
    return [...super.args, "--docker-socket", this.dockerSocket, "--docker-plugin-dir", this.dockerPluginDir];
  }

  get netns(): LabHost {
    return this.host;
  }

  /** @returns once every network it has is in its kernel */
  async ready(): Promise<void> {
    await waitFor(`all networks on ${this.host.name} to be STATUS_OK`, READY_TIMEOUT_MS, async () => {
      const { overlays = [] } = (await this.get("/overlay-agent/overlay")) as AgentDocument;
      const failed = overlays.find(({ state }) => state?.status !== "STATUS_OK");
      if (failed !== undefined) throw new Error(failed.state?.error ?? failed.state?.status);
      return overlays.length > 0 ? true : undefined;
    });
  }

  /** @returns once it has heard of so many other hosts */
  async knows(peers: number): Promise<void> {
    await waitFor(`${this.host.name} to know ${peers} other hosts`, READY_TIMEOUT_MS, async () => {
      const status = (await this.get("/v1/status")) as { readonly peers: number };
      return status.peers >= peers ? true : undefined;
    });
  }
}

/** @returns once each of them has heard of all others */
export async function knowEachOther(agents: readonly Agent[]): Promise<void> {
  for (const agent of agents) await agent.knows(agents.length - 1);
}

/**
 * Docker Engine on a machine of the lab: a containerd and a dockerd of its own with their state there, no registry, and
 * Docker's plugin directory a folder of the host's agent. The daemon can be stopped, killed and started again alone, as
 * on a real host, where the containers' shims outlive it.
 *
 * What differs from a real host is only what a lab cannot have: no cgroups, no systemd, no copy-on-write disk.
 */
import type { ChildProcess } from "node:child_process";
import { mkdirSync, openSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { CONTAINERD_PROGRAMS, type ContainerdPaths, startContainerd } from "./containerd.ts";
import { type Machine, mountsBelow } from "./machine.ts";
import type { Output, RunOptions } from "./netns.ts";
import { runtimeProblem } from "./podman.ts";
import { waitFor } from "./wait.ts";

const PROGRAMS = ["dockerd", "docker", ...CONTAINERD_PROGRAMS];
/** In its folder `plugins` a daemon looks for drivers; it has no option for that. */
const RUN_DIR = "/run/docker";
/** Where the command line looks for the daemon. */
const DEFAULT_SOCKET = "/run/docker.sock";
const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 30_000;

/** Where a host's agent and its engine meet; an Agent of the lab has both. */
export interface DockerFolders {
  /** Where the engine serves its API. */
  readonly dockerSocket: string;
  /** Where the engine looks for drivers: `plugins` beside the socket. */
  readonly dockerPluginDir: string;
}

/** @param folder of the host, for its programs' files */
export function dockerFolders(folder: string): DockerFolders {
  return { dockerSocket: join(folder, "docker/engine.sock"), dockerPluginDir: join(folder, "docker/plugins") };
}

export interface DockerOptions {
  /** Whether the engine makes firewall rules of its own, as by default; absent: it does. */
  readonly iptables?: boolean;
  /** More of the daemon's command line. */
  readonly args?: readonly string[];
}

/** Why this machine cannot run Docker in a lab, or `undefined`. */
export function dockerProblem(): string | undefined {
  return runtimeProblem("Docker", PROGRAMS);
}

export class Docker {
  readonly machine: Machine;
  readonly socket: string;
  /** The daemon's folder of what runs; the lab sees it, and the network namespaces in it, under the same path. */
  readonly execRoot: string;
  readonly #args: readonly string[];
  readonly #log: string;
  #daemon: ChildProcess | undefined;

  private constructor(
    machine: Machine,
    { dockerSocket }: DockerFolders,
    containerd: ContainerdPaths,
    { iptables = true, args = [] }: DockerOptions,
  ) {
    this.machine = machine;
    this.socket = dockerSocket;
    this.execRoot = join(machine.shared, "docker");
    this.#log = join(dirname(dockerSocket), "dockerd.log");
    const own = ["--exec-root", this.execRoot, "--host", `unix://${dockerSocket}`, "--pidfile", this.#pidFile];
    const parts = ["--containerd", containerd.socket, "--storage-driver", "vfs"];
    const runtime = ["--add-runtime", `lab=${containerd.runtime}`, "--default-runtime", "lab"];
    const firewall = iptables ? [] : ["--iptables=false", "--ip6tables=false"];
    this.#args = [...own, ...parts, ...runtime, ...firewall, ...args];
  }

  /** A machine with containerd and an engine that is not started yet. @param folders of the same host */
  static async on(machine: Machine, folders: DockerFolders, options: DockerOptions = {}): Promise<Docker> {
    const folder = dirname(folders.dockerSocket);
    for (const path of [folders.dockerPluginDir, RUN_DIR]) mkdirSync(path, { recursive: true });
    await machine.mustRun("mount", ["--bind", folder, RUN_DIR]);
    // The link is the lab's, as /run is, but it leads to each machine's own.
    rmSync(DEFAULT_SOCKET, { force: true });
    symlinkSync(join(RUN_DIR, basename(folders.dockerSocket)), DEFAULT_SOCKET);
    return new Docker(machine, folders, await startContainerd(machine), options);
  }

  get #pidFile(): string {
    return join(dirname(this.socket), "dockerd.pid");
  }

  /** What the daemon has written so far. */
  get log(): string {
    return readFileSync(this.#log, "utf8");
  }

  /** Paths of the containers' network namespaces that are mounted. */
  get namespaces(): readonly string[] {
    return mountsBelow(join(this.execRoot, "netns"));
  }

  /** Starts the daemon. @param args besides those that it was made with @returns once it answers */
  async start(args: readonly string[] = []): Promise<void> {
    const daemon = this.launch(args);
    const answers = await waitFor(`dockerd on ${this.machine.name} to answer`, START_TIMEOUT_MS, async () =>
      daemon.exitCode === null ? (await this.run(["version"])).status === 0 || undefined : false,
    );
    if (!answers)
      throw new Error(`dockerd ended with status ${daemon.exitCode}: ${this.log.trim().split("\n").at(-1)}`);
  }

  /** As `start`, without waiting for anything: a daemon whose drivers do not answer is slow to begin. */
  launch(args: readonly string[] = []): ChildProcess {
    const log = openSync(this.#log, "a");
    const daemon = this.machine.spawn("dockerd", [...this.#args, ...args], { stdio: ["ignore", log, log] });
    daemon.unref();
    this.#daemon = daemon;
    return daemon;
  }

  /** Ends the daemon alone; containers end with it by SIGTERM, unless it is told to leave them. @returns once it is gone */
  async stop(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> {
    const daemon = this.#daemon;
    if (daemon === undefined) return;
    const pid = readFileSync(this.#pidFile, "utf8").trim();
    await this.machine.mustRun("kill", ["-s", signal.slice("SIG".length), pid]);
    await waitFor("dockerd to end", STOP_TIMEOUT_MS, async () => daemon.exitCode ?? daemon.signalCode ?? undefined);
    // A daemon that was killed leaves its number, which another process of the machine may have by now.
    rmSync(this.#pidFile, { force: true });
    this.#daemon = undefined;
  }

  /** Starts `docker ARGS`, whose output is read while it goes on. */
  spawn(args: readonly string[]): ChildProcess {
    return this.machine.spawn("docker", [...this.#cli, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  }

  /** `docker ARGS`, to its end. */
  run(args: readonly string[], options: RunOptions = {}): Promise<Output> {
    return this.machine.run("docker", [...this.#cli, ...args], options);
  }

  /** @returns what it prints. @throws Error with what it wrote to stderr */
  mustRun(args: readonly string[], options: RunOptions = {}): Promise<string> {
    return this.machine.mustRun("docker", [...this.#cli, ...args], options);
  }

  /** Without a look at the user's own settings. */
  get #cli(): readonly string[] {
    return ["--config", join(this.machine.folder, "docker-cli"), "--host", `unix://${this.socket}`];
  }
}

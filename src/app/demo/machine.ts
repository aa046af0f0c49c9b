/**
 * A lab host as a machine of its own: besides the host's network it has its own mounts and its own processes, so that a
 * container runtime finds files of its own in /etc, /var/lib and /opt, and an init that reaps what it leaves. A runtime
 * keeps its state there as it would on a real host, and the real one is not touched.
 *
 * /etc/cni/net.d and /opt/cni/bin are the agent's folders. Only /run is shared with the lab: the agent has to see the
 * network namespaces that the runtime makes, which is why mounts below one folder of the machine's are the lab's, too. The machine's processes end with the lab, or by `stop`, as in a power loss.
 */
import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { isRootless, LAB_DIR } from "./enter-lab.ts";
import { mustRun, type Netns, type Output, type RunOptions, runProgram } from "./netns.ts";
import type { RuntimeHost } from "./runtime.ts";
import { waitFor } from "./wait.ts";

/** Where container runtimes keep their containers' network namespaces. */
const NETNS_DIR = "/run/netns";
const STOP_TIMEOUT_MS = 10_000;

/**
 * Run as PID 1 of the machine; $1 is its folder, $2 and $3 are the agent's folders. Tells its number outside (the lab
 * still has the /proc of outside), makes the mounts, and then only reaps.
 */
const INIT = `
set -e
read -r outside rest < /proc/self/stat
mount --make-private /proc; mount -t proc proc /proc
mount -t tmpfs tmpfs /dev/shm
# Without cgroups of its own a runtime is content with the unified hierarchy; nothing is created in it.
mount -t sysfs sysfs /sys; mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs "$1"
mount -t tmpfs -o mode=755 tmpfs /var/lib
for folder in etc opt; do
  mkdir -p "$1/$folder/upper" "$1/$folder/work"
  mount -t overlay -o "lowerdir=/$folder,upperdir=$1/$folder/upper,workdir=$1/$folder/work" overlay "/$folder"
done
mkdir -p "$2" "$3" /etc/cni/net.d /opt/cni/bin
mount --bind "$2" /etc/cni/net.d; mount --bind "$3" /opt/cni/bin
echo "$outside"
while :; do sleep 1000000; done
`;

/** Why no machine can be had here, or `undefined`. */
export function machineProblem(): string | undefined {
  return process.getuid?.() === 0 && !isRootless() ? undefined : "only root can give a lab host mounts of its own";
}

export class Machine {
  readonly name: string;
  /** On the machine's own disk (memory). */
  readonly folder: string;
  /** What the machine mounts below it, the lab sees. */
  readonly shared: string;
  readonly #init: ChildProcess;
  /** Number of its PID 1 outside of the lab. */
  readonly #pid: number;
  readonly #enter: readonly string[];

  private constructor(name: string, init: ChildProcess, pid: number) {
    const { folder, shared } = foldersOf(name);
    this.name = name;
    this.folder = folder;
    this.shared = shared;
    this.#init = init;
    this.#pid = pid;
    this.#enter = ["-t", String(pid), "--mount", "--pid", "--net", "--"];
  }

  /** Needs a lab of root. @param host whose network and CNI folders the machine has */
  static async start(host: RuntimeHost & { readonly netns: Netns }): Promise<Machine> {
    const { folder, shared } = foldersOf(host.netns.name);
    for (const path of [folder, shared]) mkdirSync(path, { recursive: true });
    // The mounts below /run/netns are shared already (`ip netns` makes them so); everything else of the lab is private.
    await mustRun("mount", ["--make-shared", "-t", "tmpfs", "-o", "mode=755", "tmpfs", shared]);
    const unshare = ["--mount", "--propagation", "unchanged", "--pid", "--fork", "--kill-child"];
    const init = host.netns.spawn(
      "unshare",
      [...unshare, "sh", "-c", INIT, "init", folder, host.confDir, host.binDir],
      { stdio: ["ignore", "pipe", "pipe"] },
    );
    const pid = Number(await firstLine(init));
    init.stdout?.destroy();
    init.stderr?.destroy();
    init.unref();
    return new Machine(host.netns.name, init, pid);
  }

  /** The beginning of a command that runs something on the machine, for somebody outside of the lab. */
  get enterText(): string {
    return `nsenter -m -p -n -t ${this.#pid}`;
  }

  /** Runs a program on the machine to its end. `env` replaces its environment. */
  run(file: string, args: readonly string[], options: RunOptions = {}): Promise<Output> {
    return runProgram("nsenter", [...this.#enter, file, ...args], options);
  }

  /** @returns what it prints. @throws Error with what it wrote to stderr, when its status is not 0 */
  async mustRun(file: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
    const { status, stdout, stderr } = await this.run(file, args, options);
    if (status !== 0) throw new Error(`${file} ${args.join(" ")} ended with status ${status}: ${stderr || stdout}`);
    return stdout;
  }

  /** Starts a program that goes on. A signal does not reach it: it has a number of its own on the machine. */
  spawn(file: string, args: readonly string[], options: SpawnOptions = {}): ChildProcess {
    return spawn("nsenter", [...this.#enter, file, ...args], options);
  }

  /** A power loss: every process of it is killed, its mounts and network namespaces vanish. @returns once they are gone */
  async stop(): Promise<void> {
    const own = await this.#ownNamespaces();
    this.#init.kill("SIGKILL");
    await waitFor("the machine to be gone", STOP_TIMEOUT_MS, async () => hasEnded(this.#pid) || undefined);
    // What a runtime mounted below /run/netns is mounted in the lab as well, and would keep the namespace.
    await unmount(runtimeNamespaces().filter((path) => own.has(statSync(path).ino)));
    await mustRun("umount", ["--recursive", this.shared]);
  }

  /** Inodes of the network namespaces that its processes are in. */
  async #ownNamespaces(): Promise<ReadonlySet<number>> {
    // A process that ends meanwhile has no link any more.
    const { stdout } = await this.run("sh", ["-c", "readlink /proc/[0-9]*/ns/net"]);
    return new Set([...stdout.matchAll(/\d+/g)].map(([inode]) => Number(inode)));
  }
}

function foldersOf(name: string): { readonly folder: string; readonly shared: string } {
  return { folder: join(LAB_DIR, "machines", name), shared: join(LAB_DIR, "shared", name) };
}

/** Mount points of the lab below a folder. */
export function mountsBelow(folder: string): string[] {
  const points = readFileSync("/proc/self/mounts", "utf8").split("\n");
  return points.map((line) => line.split(" ")[1] ?? "").filter((point) => point.startsWith(`${folder}/`));
}

/** Paths of the network namespaces that container runtimes made, of all machines of the lab. */
export function runtimeNamespaces(): string[] {
  return readdirSync(NETNS_DIR)
    .filter((name) => name.startsWith("netns-"))
    .map((name) => join(NETNS_DIR, name));
}

export async function unmount(paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    await mustRun("umount", [path]);
    rmSync(path);
  }
}

/** Whether the process is gone, or all that is left of it is a status that nobody asks for. */
function hasEnded(pid: number): boolean {
  const file = `/proc/${pid}/stat`;
  return !existsSync(file) || readFileSync(file, "utf8").includes(") Z ");
}

function firstLine(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let out = "";
    let errors = "";
    child.stdout?.on("data", (text: Buffer) => {
      out += text.toString();
      if (out.includes("\n")) resolve(out.trim());
    });
    child.stderr?.on("data", (text: Buffer) => {
      errors += text.toString();
    });
    child.once("exit", (status) => reject(new Error(`the machine ended with status ${status}: ${errors.trim()}`)));
  });
}

/**
 * A network namespace of the lab under a name, and programs that run in it. It lives as long as the lab (enter-lab.ts);
 * `ip netns` inside the lab lists it, the machine's own list does not.
 */
import { type ChildProcess, execFile, type SpawnOptions, spawn } from "node:child_process";

export interface Output {
  /** Exit status; a process that a signal ended counts as 128. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly input?: string;
  /** Replaces the environment. */
  readonly env?: NodeJS.ProcessEnv;
  /** Then it is killed. */
  readonly timeoutMs?: number;
}

const SIGNALLED = 128;
const OUTPUT_MAX_BYTES = 16 << 20;
const RUN_TIMEOUT_MS = 30_000;

/** Runs a program to its end, whatever its status. Rejects only when it does not start or takes too long. */
export function runProgram(file: string, args: readonly string[], options: RunOptions = {}): Promise<Output> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      file,
      args,
      { env: options.env, timeout: options.timeoutMs ?? RUN_TIMEOUT_MS, maxBuffer: OUTPUT_MAX_BYTES },
      (error, stdout, stderr) => {
        if (error === null) resolve({ status: 0, stdout, stderr });
        else if (typeof error.code === "number") resolve({ status: error.code, stdout, stderr });
        else if (error.signal != null && !error.killed) resolve({ status: SIGNALLED, stdout, stderr });
        else reject(error.killed ? new Error(`${file} ${args.join(" ")} took too long: ${stdout}${stderr}`) : error);
      },
    );
    // A program that does not read its input may be gone before it is written.
    child.stdin?.on("error", () => {});
    child.stdin?.end(options.input ?? "");
  });
}

/** A program of which nothing but success is expected. @returns its standard output */
export async function mustRun(file: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const { status, stdout, stderr } = await runProgram(file, args, options);
  if (status !== 0) throw new Error(`${file} ${args.join(" ")} ended with status ${status}: ${stderr || stdout}`);
  return stdout;
}

export class Netns {
  readonly name: string;
  /** A bind mount that stays the namespace's path, as a container runtime hands it over. */
  readonly path: string;

  /** @param path absent: one that `ip netns` knows by the name */
  constructor(name: string, path = `/run/netns/${name}`) {
    this.name = name;
    this.path = path;
  }

  static async create(name: string): Promise<Netns> {
    await mustRun("ip", ["netns", "add", name]);
    const netns = new Netns(name);
    await netns.ip("link set lo up");
    return netns;
  }

  /** Ends the namespace once no process is in it; its devices go with it. */
  async delete(): Promise<void> {
    await mustRun("ip", ["netns", "delete", this.name]);
  }

  /** Commands of `ip` without the word, in one process. The first that fails stops them and throws. */
  async ip(...commands: readonly string[]): Promise<void> {
    await mustRun("ip", ["-n", this.name, "-batch", "-"], { input: `${commands.join("\n")}\n` });
  }

  /** @param path below /proc/sys/net */
  async setSysctl(path: string, value: string): Promise<void> {
    await this.mustRun("sh", ["-c", 'echo "$1" > "/proc/sys/net/$0"', path, value]);
  }

  run(file: string, args: readonly string[], options: RunOptions = {}): Promise<Output> {
    return runProgram("nsenter", [`--net=${this.path}`, file, ...args], options);
  }

  mustRun(file: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
    return mustRun("nsenter", [`--net=${this.path}`, file, ...args], options);
  }

  /** Starts a program; its process number is its own, as `nsenter` becomes it. */
  spawn(file: string, args: readonly string[], options: SpawnOptions = {}): ChildProcess {
    return spawn("nsenter", [`--net=${this.path}`, file, ...args], options);
  }
}

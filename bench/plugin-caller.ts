/**
 * Calls CNI plugins as a runtime does, from a small process that stands in the host's network namespace and does nothing
 * else (plugin-caller.c), so that every plugin is started in the same cheap way and its time is its own.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { inNetns, type Netns } from "../src/io/kernel/netns.ts";
import { assert } from "../src/model/fault.ts";
import { atEnd } from "./figures.ts";

const SOURCE = join(import.meta.dirname, "plugin-caller.c");

export interface PluginCall {
  /** Path of the executable. */
  readonly program: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly config: object;
}

export interface PluginOutcome {
  readonly ms: number;
  readonly status: number;
  readonly output: string;
}

/** Compiles the program into the folder. @throws AssertionError without a C compiler */
export function buildPluginCaller(folder: string): string {
  const path = join(folder, "plugin-caller");
  const { status, error, stderr } = spawnSync("cc", ["-O2", "-o", path, SOURCE], { encoding: "utf8" });
  assert(status === 0, `cc compiles ${SOURCE}: ${error?.message ?? stderr}`);
  return path;
}

/** One such process; its calls are carried out one after another. */
export class PluginCaller {
  readonly #child: ChildProcess;
  readonly #waiting: ((line: string) => void)[] = [];

  /** @param program what `buildPluginCaller` made */
  constructor(program: string, host: Netns) {
    // A child inherits the namespace that this thread is in while it is started.
    this.#child = inNetns(host, () => spawn(program, { stdio: ["pipe", "pipe", "inherit"] }));
    atEnd(() => this.#child.kill("SIGKILL"));
    assert(this.#child.stdout !== null, "its output is a pipe");
    createInterface({ input: this.#child.stdout }).on("line", (line) => this.#waiting.shift()?.(line));
  }

  /** The plugin may refuse: that is an outcome. */
  async call({ program, environment, config }: PluginCall): Promise<PluginOutcome> {
    const variables = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
    const { promise, resolve } = Promise.withResolvers<string>();
    this.#waiting.push(resolve);
    this.#child.stdin?.write(`${[program, JSON.stringify(config), ...variables].join("\t")}\n`);
    const [microseconds = "", status = "", output = ""] = (await promise).split("\t");
    return { ms: Number(microseconds) / 1_000, status: Number(status), output };
  }

  close(): void {
    this.#child.stdin?.end();
  }
}

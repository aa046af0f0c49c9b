/**
 * Calls CNI plugins as a runtime does, from a process that stands in the host's network namespace and does nothing else
 * (plugin-caller-process.ts), so that every plugin is started in the same cheap way and its time is its own.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { inNetns, type Netns } from "../src/io/kernel/netns.ts";
import { assert } from "../src/model/fault.ts";
import { atEnd } from "./figures.ts";

const PROGRAM = join(import.meta.dirname, "plugin-caller-process.ts");

export interface PluginCall {
  /** Path of the executable. */
  readonly program: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly config: object;
}

export interface PluginOutcome {
  /** From before it was started until it was gone and all that it had printed was read. */
  readonly ms: number;
  /** Its exit status. */
  readonly status: number;
  readonly output: string;
}

/** One such process; its calls are carried out one after another. */
export class PluginCaller {
  readonly #child: ChildProcess;
  readonly #waiting: ((line: string) => void)[] = [];

  constructor(host: Netns) {
    // A child inherits the namespace that this thread is in while it is started.
    this.#child = inNetns(host, () => spawn(process.execPath, [PROGRAM], { stdio: ["pipe", "pipe", "inherit"] }));
    atEnd(() => this.#child.kill("SIGKILL"));
    assert(this.#child.stdout !== null, "its output is a pipe");
    createInterface({ input: this.#child.stdout }).on("line", (line) => this.#waiting.shift()?.(line));
  }

  /** The plugin may refuse: that is an outcome. */
  async call(call: PluginCall): Promise<PluginOutcome> {
    const { promise, resolve } = Promise.withResolvers<string>();
    this.#waiting.push(resolve);
    this.#child.stdin?.write(`${JSON.stringify(call)}\n`);
    return JSON.parse(await promise) as PluginOutcome;
  }

  close(): void {
    this.#child.stdin?.end();
  }
}

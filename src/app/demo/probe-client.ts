/**
 * A probe (probe.ts) that runs in a network namespace, as the lab talks to it.
 */
import type { ChildProcess } from "node:child_process";
import { join } from "node:path";
import type { Netns } from "./netns.ts";
import type { Answer } from "./probe.ts";

export class Probe {
  /** Number of its process outside of the lab, for `nsenter`. */
  readonly pid: number;
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #lastId = 0;

  private constructor(child: ChildProcess, pid: number) {
    this.#child = child;
    this.pid = pid;
    child.on("message", (answer: Answer) => {
      if (!("id" in answer)) return;
      this.#waiting.get(answer.id)?.(answer);
      this.#waiting.delete(answer.id);
    });
    child.unref();
    child.channel?.unref();
  }

  /** @returns once the probe answers connections */
  static async start(netns: Netns): Promise<Probe> {
    const child = netns.spawn(process.execPath, [join(import.meta.dirname, "probe.ts")], {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    return new Promise((resolve, reject) => {
      child.once("message", (answer: Answer) => {
        if ("ready" in answer) resolve(new Probe(child, answer.pid));
      });
      child.once("exit", (status) => reject(new Error(`the probe in ${netns.name} ended with status ${status}`)));
    });
  }

  /** @returns the address that the probe at `host` saw, or why none answered: `ECONNREFUSED`, `EHOSTUNREACH` … */
  async ask(host: string): Promise<string> {
    this.#lastId += 1;
    const id = this.#lastId;
    const { promise, resolve } = Promise.withResolvers<Answer>();
    this.#waiting.set(id, resolve);
    this.#child.send({ id, host });
    this.#child.channel?.ref();
    const answer = await promise;
    if (this.#waiting.size === 0) this.#child.channel?.unref();
    if ("seenAs" in answer) return answer.seenAs;
    return "error" in answer ? answer.error : "";
  }

  stop(): void {
    this.#child.kill("SIGKILL");
  }
}

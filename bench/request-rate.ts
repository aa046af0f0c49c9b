/**
 * How many requests of one byte are answered a second between two namespaces, with sockperf: client, server and all
 * softirq work on one processor, so that it is the length of the path on both hosts together that is measured.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { atEnd } from "./figures.ts";
import { run } from "./two-hosts.ts";

const RR_PORT = 5001;
export const LAST_CPU = "1";

/** Requests a second of one connection, both ends on the last processor. */
export async function requestRate(
  [client, server]: readonly [string, string],
  address: string,
  seconds: number,
): Promise<number> {
  const listen = ["sockperf", "server", "--tcp", "-i", address, "-p", String(RR_PORT)];
  const stop = await serve(server, LAST_CPU, listen, RR_PORT);
  try {
    const ask = [
      "sockperf",
      "ping-pong",
      "--tcp",
      "-i",
      address,
      "-p",
      String(RR_PORT),
      "-m",
      "14",
      "-t",
      String(seconds),
    ];
    const output = inNamespace(client, LAST_CPU, ask);
    const oneWayUs = /avg-latency=([\d.]+)/.exec(output)?.[1];
    if (oneWayUs === undefined) throw new Error(`sockperf gave no latency:\n${output}`);
    return 1e6 / (2 * Number(oneWayUs));
  } finally {
    await stop();
  }
}

/** Starts a server in a namespace and waits until it listens; the result ends it. */
export async function serve(
  namespace: string,
  cpu: string,
  argv: readonly string[],
  port: number,
): Promise<() => Promise<void>> {
  const child = spawn("ip", ["netns", "exec", namespace, "taskset", "-c", cpu, ...argv], { stdio: "ignore" });
  atEnd(() => child.kill("SIGKILL"));
  const ended = once(child, "exit");
  const stop = async () => {
    child.kill("SIGTERM");
    await ended;
  };
  for (let tries = 0; tries < 100; tries++) {
    if (run(["ip", "netns", "exec", namespace, "ss", "-Hltn", `sport = :${port}`]) !== "") return stop;
    await sleep(20);
  }
  await stop();
  throw new Error(`${argv[0]} did not listen on port ${port}`);
}

export function inNamespace(namespace: string, cpu: string, argv: readonly string[]): string {
  return run(["ip", "netns", "exec", namespace, "taskset", "-c", cpu, ...argv]);
}

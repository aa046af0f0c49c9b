/**
 * What a host of a lab has of a network: everything that its kernel, its CNI folder and its agent show that matches.
 */
import { readdirSync } from "node:fs";
import type { Agent } from "../../src/app/demo/weft-process.ts";

const LOOK =
  "ip -o link; ip -o addr; ip route show table all; ip -6 route show table all; ip rule; ip -6 rule; ip neigh; " +
  "bridge fdb show; nft list ruleset";

/** The lines, each trimmed. A running agent is asked for its leases, too. */
export async function tracesOf(agent: Agent, pattern: RegExp, isRunning = true): Promise<string[]> {
  const kernel = await agent.host.mustRun("sh", ["-c", LOOK]);
  const files = readdirSync(agent.confDir);
  const leases = isRunning ? JSON.stringify(await agent.get("/v1/attachments"), undefined, 1) : "";
  const lines = [...kernel.split("\n"), ...files, ...leases.split("\n")];
  return lines.map((line) => line.trim()).filter((line) => pattern.test(line));
}

/** Calls `ask` again and again. @returns what ends it, and tells how many calls there were and which failed */
export function keepAsking(ask: () => Promise<unknown>): () => Promise<{ calls: number; failures: string[] }> {
  const failures: string[] = [];
  let calls = 0;
  let isOver = false;
  const run = async () => {
    while (!isOver) {
      await ask().catch((error: unknown) => failures.push(String(error)));
      calls += 1;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  const running = run();
  return async () => {
    isOver = true;
    await running;
    return { calls, failures };
  };
}

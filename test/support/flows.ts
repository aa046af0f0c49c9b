/**
 * Connections that live through a test: TCP back and forth and a TCP stream for each address. One that ends is lost for
 * good; nobody connects again.
 */
import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import type { Netns } from "../../src/app/demo/netns.ts";
import { waitFor } from "../../src/app/demo/wait.ts";
import type { Ip } from "../../src/model/ip.ts";

const PORT = 7300;
/** A retransmission after the first time-outs fits into it. */
const LIVES_MS = 15_000;
/** So often each has to come back to be alive. */
const LIVES_COUNT = 20;

export interface Flows {
  /** Resolves when each has gone on for a while. @throws Error when one does not */
  live(): Promise<void>;
  /** @returns how many ended by themselves */
  stop(): Promise<{ readonly lost: number }>;
}

const SERVER = `
  require("node:net").createServer((socket) => { socket.on("error", () => {}); socket.pipe(socket); })
    .listen(${PORT}, "::", () => console.log("ready"));`;

/** Writes a line `NUMBER COUNT` for each round, and `lost NUMBER`. */
const CLIENT = `
  const net = require("node:net");
  const counts = [];
  process.argv[1].split(",").forEach((address, i) => {
    for (const size of [1, 60000]) {
      const number = i * 2 + (size > 1 ? 1 : 0);
      counts[number] = 0;
      const socket = net.connect(${PORT}, address);
      socket.setNoDelay(true);
      let left = size;
      const send = () => { left = size; socket.write(Buffer.alloc(size)); };
      socket.on("connect", send);
      socket.on("data", (data) => { left -= data.length; if (left <= 0) { counts[number]++; setTimeout(send, 5); } });
      socket.on("error", () => {});
      socket.on("close", () => console.log("lost " + number));
    }
  });
  setInterval(() => console.log(counts.join(" ")), 50);`;

export async function startFlows(from: Netns, to: Netns, addresses: readonly Ip[]): Promise<Flows> {
  const server = to.spawn(process.execPath, ["-e", SERVER], { stdio: ["ignore", "pipe", "inherit"] });
  await once(server.stdout as NodeJS.ReadableStream, "data");
  const client = from.spawn(process.execPath, ["-e", CLIENT, addresses.join(",")], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const seen = follow(client);
  for (const child of [server, client]) child.unref();
  const flows: Flows = {
    live: async () => {
      const before = seen.counts();
      await waitFor("every connection to go on", LIVES_MS, async () => {
        const now = seen.counts();
        assert.equal(seen.lost(), 0, "a connection was lost");
        const goOn = now.length > 0 && now.every((count, i) => count >= (before[i] ?? 0) + LIVES_COUNT);
        return goOn ? true : undefined;
      });
    },
    stop: async () => {
      const lost = seen.lost();
      for (const child of [client, server]) {
        child.ref();
        const ended = once(child, "exit");
        child.kill("SIGKILL");
        await ended;
      }
      return { lost };
    },
  };
  await flows.live();
  return flows;
}

function follow(client: ChildProcess) {
  let counts: readonly number[] = [];
  let lost = 0;
  let rest = "";
  client.stdout?.on("data", (data: Buffer) => {
    const lines = (rest + data.toString()).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line.startsWith("lost")) lost++;
      else counts = line.split(" ").map(Number);
    }
  });
  return { counts: () => counts, lost: () => lost };
}

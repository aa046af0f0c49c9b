/**
 * The program in each container, host and internet host of a lab: answers every TCP connection with the address that it
 * came from, and on request connects to another and tells what that one answered. So one question shows both that a
 * packet arrives and comes back, and whose address the other side saw.
 *
 * Driven over its IPC channel: `Question` in, `Answer` out, in any order; it ends with the channel.
 */
import { connect, createServer } from "node:net";
import { outsidePid } from "./enter-lab.ts";

export const PROBE_PORT = 7000;

export interface Question {
  readonly id: number;
  readonly host: string;
}

export type Answer =
  | { readonly id: number; readonly seenAs: string }
  | { readonly id: number; readonly error: string }
  /** First message of all: the probe answers connections. `pid` is its number outside of the lab. */
  | { readonly ready: true; readonly pid: number };

/** Several tries of TCP's first retransmission (1 s) would hide nothing: a good path answers at the first. */
const ANSWER_TIMEOUT_MS = 3_000;

async function ask({ id, host }: Question): Promise<Answer> {
  return new Promise((resolve) => {
    let seenAs = "";
    const socket = connect({ host, port: PROBE_PORT, timeout: ANSWER_TIMEOUT_MS });
    socket.setEncoding("utf8");
    socket.on("data", (text: string) => {
      seenAs += text;
    });
    socket.on("end", () => resolve({ id, seenAs }));
    socket.on("timeout", () => socket.destroy(new Error(`no answer within ${ANSWER_TIMEOUT_MS / 1000} s`)));
    socket.on("error", (error: NodeJS.ErrnoException) => resolve({ id, error: error.code ?? error.message }));
  });
}

function serve(): void {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.end((socket.remoteAddress ?? "").replace(/^::ffff:/, ""));
  });
  server.listen(PROBE_PORT, "::", () => process.send?.({ ready: true, pid: outsidePid() } satisfies Answer));
  process.on("message", async (question: Question) => process.send?.(await ask(question)));
  process.on("disconnect", () => process.exit(0));
}

if (import.meta.main) serve();

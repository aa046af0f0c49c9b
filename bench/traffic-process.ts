/**
 * One end of the traffic of traffic.ts: a process pinned to a processor inside a network namespace, which either answers
 * for one round or asks for one, in a single thread that sleeps in the kernel while it waits.
 *
 * `tcp-rr`, `udp-rr`: one byte, one byte back, one after the other over one connection. `tcp-crr`: a connection for each
 * such pair. `tcp-stream`: writes of 128 KiB. Both ends do what netperf's tests of these names do, and nothing else.
 *
 * Driven over its IPC channel: `TrafficOrder` in, `TrafficReport` out. One that is started with the argument `answer` has
 * its port open from the beginning, so that neither end of a round has to wait for the other; only such a one answers.
 */
import { readFileSync } from "node:fs";
import * as sockets from "./traffic-sockets.ts";

const PORT = 7200;
const WRITE_BYTES = 128 * 1024;
/** USER_HZ, which is 100 wherever Linux runs Node. */
const TICK_MS = 10;
/** What a request says: that it is one, or that none follows. */
const REQUEST = 0;
const LAST = 1;

export type TrafficKind = "tcp-rr" | "udp-rr" | "tcp-crr" | "tcp-stream";

export type TrafficOrder =
  /** Until the other end says that it is done. */
  | { readonly type: "answer"; readonly kind: TrafficKind }
  | { readonly type: "ask"; readonly kind: TrafficKind; readonly address: string; readonly ms: number };

export type TrafficReport =
  | { readonly type: "ready" }
  | { readonly type: "answered" }
  | ({ readonly type: "asked" } & Round);

export interface Round {
  /** Requests that were answered; bytes of a stream that the other end has read. */
  readonly count: number;
  readonly ms: number;
  /** Processor time of the whole machine meanwhile, whoever used it. */
  readonly busyMs: number;
}

const byte = new Uint8Array(1);
const block = new Uint8Array(WRITE_BYTES);

// ---- the end that answers ------------------------------------------------------------------------------------------

const isAnswering = process.argv[2] === "answer";
const listener = isAnswering ? sockets.boundSocket("tcp", PORT) : -1;
let udp = isAnswering ? sockets.boundSocket("udp", PORT) : -1;

const answers: Readonly<Record<TrafficKind, () => void>> = {
  "tcp-rr": () => {
    const fd = sockets.accept(listener);
    sockets.sendAtOnce(fd);
    while (sockets.receive(fd, byte) > 0) sockets.send(fd, byte);
    sockets.close(fd);
  },
  "udp-rr": () => {
    sockets.connect(udp, sockets.receiveOfAnyone(udp, byte));
    while (byte[0] !== LAST) {
      sockets.send(udp, byte);
      sockets.receive(udp, byte);
    }
    // A connected socket takes nothing of the next client.
    sockets.close(udp);
    udp = sockets.boundSocket("udp", PORT);
  },
  "tcp-crr": () => {
    do {
      const fd = sockets.accept(listener);
      sockets.receive(fd, byte);
      sockets.send(fd, byte);
      sockets.close(fd);
    } while (byte[0] !== LAST);
  },
  "tcp-stream": () => {
    const fd = sockets.accept(listener);
    while (sockets.receive(fd, block) > 0);
    sockets.close(fd);
  },
};

// ---- the end that asks ---------------------------------------------------------------------------------------------

/** Begins a connection. The result does one piece of work and says how much it was; its `end` leaves nothing on the way. */
interface Asking {
  readonly step: () => number;
  readonly end: () => void;
}

const askings: Readonly<Record<TrafficKind, (to: Uint8Array) => Asking>> = {
  "tcp-rr": (to) => {
    const fd = sockets.connected("tcp", to);
    sockets.sendAtOnce(fd);
    return { step: () => request(fd), end: () => sockets.close(fd) };
  },
  "udp-rr": (to) => {
    const fd = sockets.connected("udp", to);
    const end = () => {
      sockets.send(fd, Uint8Array.of(LAST));
      sockets.close(fd);
    };
    return { step: () => request(fd), end };
  },
  "tcp-crr": (to) => {
    const step = () => {
      const fd = sockets.connectedOnce(to);
      const answered = request(fd);
      sockets.close(fd);
      return answered;
    };
    const end = () => {
      byte[0] = LAST;
      step();
    };
    return { step, end };
  },
  "tcp-stream": (to) => {
    const fd = sockets.connected("tcp", to);
    const end = () => {
      sockets.endSending(fd);
      sockets.receive(fd, byte); // when the other end has read all
      sockets.close(fd);
    };
    return { step: () => sockets.send(fd, block), end };
  },
};

function request(fd: number): number {
  sockets.send(fd, byte);
  if (sockets.receive(fd, byte) !== 1) throw new Error("the connection ended before the answer");
  return 1;
}

function ask(kind: TrafficKind, address: string, ms: number): Round {
  byte[0] = REQUEST;
  const { step, end } = askings[kind](sockets.socketAddress(address, PORT));
  const busyBefore = busyMs();
  const start = performance.now();
  let count = 0;
  while (performance.now() < start + ms) count += step();
  end();
  const took = performance.now() - start;
  return { count, ms: took, busyMs: busyMs() - busyBefore };
}

/**
 * Processor time of the machine up to now. What is counted by ticks (user, system) is a sample, what is not used (idle,
 * waiting for a disk, taken by the hypervisor) is measured: so it is the time that passed without the latter.
 */
function busyMs(): number {
  const lines = readFileSync("/proc/stat", "utf8").split("\n");
  const processors = lines.filter((line) => /^cpu\d/.test(line)).length;
  const [, , , idle = 0, waiting = 0, , , stolen = 0] = (lines[0] ?? "").split(/\s+/).slice(1).map(Number);
  return performance.now() * processors - (idle + waiting + stolen) * TICK_MS;
}

function say(report: TrafficReport): void {
  process.send?.(report);
}

process.on("message", (order: TrafficOrder) => {
  if (order.type === "ask") {
    say({ type: "asked", ...ask(order.kind, order.address, order.ms) });
  } else {
    answers[order.kind]();
    say({ type: "answered" });
  }
});
say({ type: "ready" });

/**
 * TCP connections that live for long, out of one container and into it: each sends a piece of a known sequence of bytes ten
 * times a second, and the other side sends back what it gets. What does not come back, comes back as something else, or ends
 * before it is told to, is counted.
 *
 * Driven over its IPC channel: `FlowOrder` in, `FlowReport` out.
 */
import { connect, createServer, type Socket } from "node:net";

export const FLOW_PORT = 7100;

export type FlowOrder =
  | { readonly type: "connect"; readonly host: string; readonly flows: number }
  /** Nothing more is sent; when all has come back, or a while later, it reports. */
  | { readonly type: "finish" };

export type FlowReport =
  | { readonly type: "ready" }
  | { readonly type: "connected" }
  | {
      readonly type: "finished";
      readonly flows: number;
      /** Connections that ended by themselves. */
      readonly resets: number;
      readonly sent: number;
      /** Bytes that did not come back, or not as they were sent. */
      readonly lost: number;
      /** The longest time in which a connection that had sent something got nothing. */
      readonly stallMs: number;
    };

const PIECE_BYTES = 256;
const SEND_MS = 100;
const FINISH_MS = 10_000;
/** The byte at an offset is the offset's lowest: 251 is prime to the pieces' length, so a piece that lacks shows. */
const MODULUS = 251;

class Flow {
  readonly connected: Promise<void>;
  sent = 0;
  received = 0;
  wrong = 0;
  stallMs = 0;
  isBroken = false;
  readonly #socket: Socket;
  /** Since when something is on its way. */
  #waitingSince: number | undefined;

  constructor(host: string) {
    const socket = connect({ host, port: FLOW_PORT, noDelay: true });
    this.#socket = socket;
    this.connected = new Promise((resolve) => socket.once("connect", resolve));
    socket.on("data", (bytes) => this.#took(bytes));
    socket.on("error", () => {});
    socket.on("close", () => {
      this.isBroken = true;
    });
  }

  send(now: number): void {
    if (this.isBroken) return;
    this.#socket.write(Uint8Array.from({ length: PIECE_BYTES }, (_, n) => (this.sent + n) % MODULUS));
    this.sent += PIECE_BYTES;
    this.#waitingSince ??= now;
  }

  /** Notes how long nothing has come. */
  look(now: number): void {
    if (this.#waitingSince !== undefined) this.stallMs = Math.max(this.stallMs, now - this.#waitingSince);
  }

  #took(bytes: Uint8Array): void {
    const now = performance.now();
    this.look(now);
    for (const [n, byte] of bytes.entries()) if (byte !== (this.received + n) % MODULUS) this.wrong += 1;
    this.received += bytes.length;
    this.#waitingSince = this.received < this.sent ? now : undefined;
  }
}

function say(report: FlowReport): void {
  process.send?.(report);
}

const flows: Flow[] = [];
let sending: NodeJS.Timeout | undefined;

async function connectAll(host: string, count: number): Promise<void> {
  const made = Array.from({ length: count }, () => new Flow(host));
  flows.push(...made);
  await Promise.all(made.map(({ connected }) => connected));
  sending = setInterval(() => {
    for (const flow of flows) flow.send(performance.now());
  }, SEND_MS);
  say({ type: "connected" });
}

async function finish(): Promise<void> {
  clearInterval(sending);
  const end = performance.now() + FINISH_MS;
  const isWhole = () => flows.every(({ sent, received, isBroken }) => isBroken || received >= sent);
  while (!isWhole() && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, SEND_MS));
  for (const flow of flows) flow.look(performance.now());
  const sum = (value: (flow: Flow) => number) => flows.reduce((total, flow) => total + value(flow), 0);
  say({
    type: "finished",
    flows: flows.length,
    resets: flows.filter(({ isBroken }) => isBroken).length,
    sent: sum(({ sent }) => sent),
    lost: sum(({ sent, received, wrong }) => sent - received + wrong),
    stallMs: Math.max(0, ...flows.map(({ stallMs }) => stallMs)),
  });
}

process.on("message", (order: FlowOrder) => {
  if (order.type === "connect") void connectAll(order.host, order.flows);
  else void finish();
});
process.on("disconnect", () => process.exit(0));
createServer({ noDelay: true }, (socket) => {
  socket.on("error", () => {});
  socket.pipe(socket);
}).listen(FLOW_PORT, "::", () => say({ type: "ready" }));

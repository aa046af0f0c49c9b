/**
 * One connection of the peer stream, from its opening to its end: a snapshot, then updates, and blank lines as signs of
 * life. It ends when the master ends it, sends nothing for PEER_STREAM_SILENCE_MAX_MS, sends a line without end, or does
 * not begin with a snapshot: an update would mean nothing to one who does not know what it changes.
 */
import type { ClientRequest, IncomingMessage } from "node:http";
import { parseFaultBody } from "../model/fault-table.ts";
import { MASTER_ANSWER_MAX_BYTES, PEER_STREAM_LINE_MAX_BYTES, PEER_STREAM_SILENCE_MAX_MS } from "../model/limits.ts";
import { LineSplitter } from "./line-splitter.ts";
import { bodyOf, type MasterAddress, parseJson, requestTo, whyUnreachable } from "./master-call.ts";
import { decodePeerLine } from "./peer-line.ts";
import type { Clock, PeerUpdate } from "./ports.ts";

export interface StreamReader {
  readonly agentId: string;
  readonly instanceId: string;
}

/** Where the stream is, and what shows the master whose it is. */
export interface StreamMaster {
  address(): MasterAddress;
  /** @returns headers for the request; rejects when the master does not answer or refuses */
  prove(method: string, path: string): Promise<Readonly<Record<string, string>>>;
}

/** None of these is called after `close`. */
export interface PeerStreamEvents {
  onOpen(): void;
  onUpdate(update: PeerUpdate): void;
  /** Something was skipped, and why. */
  onComplaint(text: string): void;
  /** Called once, also when the stream could not be opened. */
  onEnd(reason: string): void;
}

export class PeerStream {
  readonly #clock: Clock;
  readonly #events: PeerStreamEvents;
  #request: ClientRequest | undefined;
  readonly #lines = new LineSplitter(PEER_STREAM_LINE_MAX_BYTES);
  #hasSnapshot = false;
  #isOver = false;
  #cancelSilence: () => void = () => {};

  constructor(master: StreamMaster, { agentId, instanceId }: StreamReader, clock: Clock, events: PeerStreamEvents) {
    this.#clock = clock;
    this.#events = events;
    const query = new URLSearchParams({ agent: agentId, instance: instanceId });
    const path = `/v1/peers/stream?${query}`;
    const address = master.address();
    void master.prove("GET", path).then(
      (headers) => this.#ask(address, path, headers),
      (error: unknown) => this.#end(whyUnreachable(error)),
    );
    this.#awaitBytes();
  }

  close(): void {
    this.#isOver = true;
    this.#cancelSilence();
    this.#request?.destroy();
  }

  #ask(address: MasterAddress, path: string, headers: Readonly<Record<string, string>>): void {
    if (this.#isOver) return;
    this.#request = requestTo(address, { method: "GET", path, headers });
    this.#request.on("response", (answer) => this.#answered(answer));
    this.#request.on("error", (error) => this.#end(whyUnreachable(error)));
    this.#request.end();
  }

  #answered(answer: IncomingMessage): void {
    if (this.#isOver) return;
    if (answer.statusCode !== 200) {
      void refusalOf(answer).then((reason) => this.#end(reason));
      return;
    }
    this.#events.onOpen();
    answer.on("data", (bytes: Buffer) => this.#read(bytes));
    answer.on("end", () => this.#end("the master ended it"));
    answer.on("error", (error) => this.#end(whyUnreachable(error)));
  }

  #read(bytes: Buffer): void {
    if (this.#isOver) return;
    this.#awaitBytes();
    const fits = this.#lines.push(bytes, (line) => this.#line(line));
    if (!fits) this.#end(`the master sent a line of more than ${PEER_STREAM_LINE_MAX_BYTES} bytes`);
  }

  #line(line: string): void {
    if (this.#isOver || line === "") return;
    const { update, complaints } = decodePeerLine(line);
    for (const text of complaints) this.#events.onComplaint(text);
    if (update?.type === "snapshot") this.#hasSnapshot = true;
    if (!this.#hasSnapshot) this.#end("the master did not begin with a snapshot");
    else if (update !== undefined) this.#events.onUpdate(update);
  }

  #awaitBytes(): void {
    this.#cancelSilence();
    const seconds = PEER_STREAM_SILENCE_MAX_MS / 1000;
    this.#cancelSilence = this.#clock.after(PEER_STREAM_SILENCE_MAX_MS, () =>
      this.#end(`the master sent nothing for ${seconds} s`),
    );
  }

  #end(reason: string): void {
    if (this.#isOver) return;
    this.close();
    this.#events.onEnd(reason);
  }
}

async function refusalOf(answer: IncomingMessage): Promise<string> {
  try {
    const fault = parseFaultBody(parseJson(await bodyOf(answer, MASTER_ANSWER_MAX_BYTES)));
    return fault?.message ?? `it answers HTTP ${answer.statusCode}; it is no master`;
  } catch (error) {
    return whyUnreachable(error);
  }
}

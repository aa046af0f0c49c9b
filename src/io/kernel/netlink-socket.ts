/**
 * A netlink socket for requests. The kernel carries out a request inside `send`, so every answer is there on return
 * and nothing ever waits; what takes long is sent by a thread. A socket stays in the network namespace in which it was made.
 */
import { Fault } from "../../model/fault.ts";
import {
  KERNEL_READ_ATTEMPTS,
  NETLINK_DATAGRAM_MAX_BYTES,
  NETLINK_RECEIVE_BUFFER_BYTES,
  NETLINK_SEND_BUFFER_BYTES,
} from "../../model/limits.ts";
import {
  bindNetlink,
  closeFd,
  errnoText,
  netlinkSocket,
  netnsCookie,
  receive,
  SystemCallError,
  send,
  sendInThread,
  setSocketOption,
} from "./ffi.ts";
import { decodeVerdict, type Verdict } from "./netlink/error-message.ts";
import {
  type Message,
  type MessageWriter,
  malformed,
  NLM_F_DUMP_INTR,
  NLM_F_MULTI,
  NLMSG_DONE,
  NLMSG_ERROR,
  readMessages,
} from "./netlink/message.ts";
import { noRights } from "./netns.ts";

export const NETLINK_ROUTE = 0;
export const NETLINK_NETFILTER = 12;
export const NETLINK_XFRM = 6;

const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SO_RCVBUF = 8;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;
export const SOL_NETLINK = 270;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;

// One for all sockets: it is read out before the next call.
const datagram = new Uint8Array(NETLINK_DATAGRAM_MAX_BYTES);

export class NetlinkSocket {
  #fd: number;

  /**
   * @param protocol NETLINK_ROUTE or NETLINK_NETFILTER
   * @throws SystemCallError where the kernel does not speak it
   */
  constructor(protocol: number) {
    this.#fd = openConfigured(protocol);
  }

  /** Sends what the writer holds and calls back with each verdict that comes, in order. */
  execute(request: MessageWriter, onVerdict: (sequence: number, verdict: Verdict) => void): void {
    send(this.#open(), request.bytes);
    for (const message of this.#answers(request.nextSequence - 1))
      if (message.type === NLMSG_ERROR) onVerdict(message.sequence, decodeVerdict(message));
  }

  /** Sends one question and calls back with the messages of its answer. The verdict is 0 when it was answered. */
  ask(question: MessageWriter, onMessage: (message: Message) => void): Verdict {
    let verdict: Verdict = { errno: 0 };
    send(this.#open(), question.bytes);
    for (const message of this.#answers(question.nextSequence - 1)) {
      if (message.type === NLMSG_ERROR) verdict = decodeVerdict(message);
      else onMessage(message);
    }
    return verdict;
  }

  /** Sends one request that changes something, from a thread. The socket must not be used for anything else meanwhile. */
  async executeInThread(request: MessageWriter): Promise<Verdict> {
    let verdict: Verdict = { errno: 0 };
    const datagram = request.bytes.slice();
    if (!(await sendInThread(this.#open(), datagram))) send(this.#open(), datagram);
    for (const message of this.#answers(request.nextSequence - 1))
      if (message.type === NLMSG_ERROR) verdict = decodeVerdict(message);
    return verdict;
  }

  /**
   * Asks for a list and returns what `decode` makes of its messages, without the `undefined` ones. Asks again when the
   * list changed under the reading.
   * @param what names the list in an error
   * @throws Fault kernel-refused, no-rights
   */
  dump<T>(what: string, question: MessageWriter, decode: (message: Message) => T | undefined): T[] {
    for (let attempt = 0; attempt < KERNEL_READ_ATTEMPTS; attempt++) {
      send(this.#open(), question.bytes);
      const found = collectDump(what, this.#answers(question.nextSequence - 1), decode);
      if (found !== undefined) return found;
    }
    throw new Fault(
      "kernel-refused",
      `cannot read ${what}: it changed during each of ${KERNEL_READ_ATTEMPTS} readings; find out what changes it without pause`,
    );
  }

  /** See ffi.ts. */
  get netnsCookie(): bigint | undefined {
    return netnsCookie(this.#open());
  }

  close(): void {
    if (this.#fd < 0) return;
    closeFd(this.#fd);
    this.#fd = -1;
  }

  /** Until that of the last request has ended, or, where none was asked for, until nothing is there. */
  *#answers(lastSequence: number): Generator<Message> {
    for (;;) {
      const length = receive(this.#open(), datagram);
      if (length === undefined) return;
      let isOver = false;
      for (const message of readMessages(datagram.subarray(0, length))) {
        isOver = message.sequence === lastSequence && isEnd(message);
        yield message;
      }
      if (isOver) return;
    }
  }

  #open(): number {
    if (this.#fd < 0) throw new Fault("kernel-refused", "this kernel port is closed; open a new one");
    return this.#fd;
  }
}

/** Whether no further message of the same answer comes. */
function isEnd({ type, flags }: Message): boolean {
  return type === NLMSG_ERROR || type === NLMSG_DONE || (flags & NLM_F_MULTI) === 0;
}

/**
 * What `decode` makes of the messages of one list; `undefined` when the list changed under the reading.
 * @throws Fault kernel-refused, no-rights
 */
export function collectDump<T>(
  what: string,
  answers: Iterable<Message>,
  decode: (message: Message) => T | undefined,
): T[] | undefined {
  const found: T[] = [];
  let interrupted = false;
  let done = false;
  for (const message of answers) {
    if ((message.flags & NLM_F_DUMP_INTR) !== 0) interrupted = true;
    if (message.type === NLMSG_ERROR || message.type === NLMSG_DONE) {
      done = true;
      const verdict = decodeVerdict(message);
      if (verdict.errno !== 0) throw refusal(`read ${what}`, verdict);
      continue;
    }
    const value = decode(message);
    if (value !== undefined) found.push(value);
  }
  if (!done) throw malformed(`the list of ${what} has no end`);
  return interrupted ? undefined : found;
}

/** The refusal of a reading. `what` says what was tried. */
export function refusal(what: string, verdict: Verdict): Fault {
  const { name, text } = errnoText(verdict.errno);
  if (name === "EPERM" || name === "EACCES") return noRights(what);
  return new Fault("kernel-refused", `cannot ${what}: ${verdict.text ?? text} (${name})`, { errno: name });
}

function openConfigured(protocol: number): number {
  const fd = netlinkSocket(protocol);
  try {
    bindNetlink(fd);
    setSocketOption(fd, SOL_NETLINK, NETLINK_CAP_ACK, 1);
    setSocketOption(fd, SOL_NETLINK, NETLINK_EXT_ACK, 1);
    setSocketOption(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1);
    setBufferBytes(fd, SO_SNDBUFFORCE, SO_SNDBUF, NETLINK_SEND_BUFFER_BYTES);
    setReceiveBuffer(fd, NETLINK_RECEIVE_BUFFER_BYTES);
    return fd;
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}

/** Room for answers that wait to be read; less than asked where the process may not have more. */
export function setReceiveBuffer(fd: number, bytes: number): void {
  setBufferBytes(fd, SO_RCVBUFFORCE, SO_RCVBUF, bytes);
}

/** As much as asked where the process may, else as much as the host's limits give. */
function setBufferBytes(fd: number, force: number, plain: number, bytes: number): void {
  try {
    setSocketOption(fd, SOL_SOCKET, force, bytes);
  } catch (error) {
    if (!(error instanceof SystemCallError)) throw error;
    setSocketOption(fd, SOL_SOCKET, plain, bytes);
  }
}

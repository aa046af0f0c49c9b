/**
 * Carries out operations in their order, packed into as few system calls as the order allows.
 *
 * Operations of rtnetlink go out many to a datagram and only the last asks for an answer: the kernel reports each that
 * failed anyway. Consecutive ones of nftables are one transaction; when it is refused each is tried alone, so that one
 * bad entry blocks no other. Devices are named here and numbered there: a number is looked up once for a whole call,
 * and again after the device was made or deleted.
 */
import { setImmediate } from "node:timers/promises";
import { type DatapathOp, isDatapathOp } from "../../core/host/datapath.ts";
import type { KernelOp, VethLink } from "../../core/host/host-state.ts";
import { deviceOf } from "../../core/host/op-device.ts";
import { assert, Fault } from "../../model/fault.ts";
import { KERNEL_STRETCH_MS, NETLINK_BATCH_MESSAGES } from "../../model/limits.ts";
import type { KernelError, OpFailure } from "../ports.ts";
import { forgetConnections } from "./connections.ts";
import { SystemCallError } from "./ffi.ts";
import { type KernelSockets, openKernelSockets } from "./kernel-sockets.ts";
import { deleteLink } from "./link-deletion.ts";
import { encodeAddressDelete, encodeAddressReplace } from "./netlink/address-messages.ts";
import type { Verdict } from "./netlink/error-message.ts";
import {
  decodeIfindex,
  encodeLinkAdd,
  encodeLinkGet,
  encodeLinkMarks,
  encodeLinkSet,
  type NewLink,
} from "./netlink/link-messages.ts";
import { MessageWriter } from "./netlink/message.ts";
import {
  encodeFdbDelete,
  encodeFdbReplace,
  encodeNeighborDelete,
  encodeNeighborReplace,
} from "./netlink/neighbor-messages.ts";
import { encodeRouteDelete, encodeRouteReplace } from "./netlink/route-messages.ts";
import { encodeRuleAdd, encodeRuleDelete } from "./netlink/rule-messages.ts";
import { encodeShaperDelete, encodeShaperReplace } from "./netlink/shaper-messages.ts";
import type { NetlinkSocket } from "./netlink-socket.ts";
import { ownRules } from "./nftables/passages.ts";
import { encodeNftOp, encodeTransaction, isNftOp, type NftOp } from "./nftables/transaction.ts";
import { observeLinks } from "./observe.ts";
import { kernelError, refusedOp } from "./op-text.ts";

type Numbered = { readonly index: number; readonly op: KernelOp };

/** @returns what failed, in the order of `ops` */
export async function applyOps(sockets: KernelSockets, ops: readonly KernelOp[]): Promise<readonly OpFailure[]> {
  const run = new Run(sockets);
  const numbered = ops.map((op, index) => ({ index, op }));
  let paused = performance.now();
  for (let at = 0; at < numbered.length; ) {
    const end = endOfStretch(ops, at);
    await run.carryOut(numbered.slice(at, end));
    at = end;
    if (at < ops.length && performance.now() > paused + KERNEL_STRETCH_MS) {
      await setImmediate();
      paused = performance.now();
    }
  }
  return run.failures.toSorted((a, b) => a.index - b.index);
}

/**
 * A stretch is all of nftables, because of the transaction, or all deletions of links, because they take their time, or
 * all other; and ends where it is long enough.
 */
function endOfStretch(ops: readonly KernelOp[], start: number): number {
  const kind = kindOf(ops[start]);
  const longest = kind === "nft" ? Number.POSITIVE_INFINITY : NETLINK_BATCH_MESSAGES;
  let end = start + 1;
  while (end < ops.length && kindOf(ops[end]) === kind && end - start < longest) end++;
  return end;
}

function kindOf(op: KernelOp | undefined): "nft" | "link.delete" | "other" {
  if (op?.op === "link.delete") return "link.delete";
  return op?.op.startsWith("nft.") === true ? "nft" : "other";
}

type Alone = () => KernelError | undefined | Promise<KernelError | undefined>;

class Run {
  readonly failures: OpFailure[] = [];
  readonly #sockets: KernelSockets;
  readonly #ifindexes = new Map<string, number | undefined>();
  readonly #batch = new MessageWriter();
  /** The operations of the batch, one to a message. */
  #batched: Numbered[] = [];
  /** Those of the end of what was carried out. */
  #sysctls: NumberedSysctl[] = [];

  constructor(sockets: KernelSockets) {
    this.#sockets = sockets;
  }

  /** See endOfStretch. */
  async carryOut(stretch: readonly Numbered[]): Promise<void> {
    const nft = stretch.filter((each): each is NumberedNft => isNftOp(each.op));
    if (nft.length > 0) return this.#transaction(nft);
    if (stretch[0]?.op.op === "link.delete") await Promise.all(stretch.map((each) => this.#deleteLink(each)));
    else
      for (const each of stretch) {
        const waiting = this.#carryOutOne(each);
        if (waiting !== undefined) await waiting;
      }
    this.#flush();
    this.#setSysctls();
  }

  async #deleteLink(each: Numbered): Promise<void> {
    const { op } = each;
    if (op.op !== "link.delete") return;
    const ifindex = this.#indexOf(op.name);
    this.#ifindexes.delete(op.name);
    if (ifindex === undefined) return this.#fail(each, noDevice(op, op.name));
    try {
      const verdict = await deleteLink(this.#sockets, ifindex);
      if (verdict.errno !== 0) this.#fail(each, refusedOp(op, verdict));
    } catch (error) {
      this.#fail(each, thrownError(op, error));
    }
  }

  /** @returns what has to be waited for, if anything: most is only written down here */
  #carryOutOne(each: Numbered): Promise<void> | undefined {
    const { op } = each;
    if (op.op === "sysctl.set") {
      this.#flush();
      this.#sysctls.push({ index: each.index, op });
      return undefined;
    }
    this.#setSysctls();
    const alone = this.#alone(op);
    if (alone !== undefined) return this.#carryOutAlone(each, alone);
    // Links go by their names.
    const dev = op.op.startsWith("link.") ? undefined : deviceOf(op);
    const ifindex = dev === undefined ? undefined : this.#indexOf(dev);
    if (dev !== undefined && ifindex === undefined) {
      this.#fail(each, noDevice(op, dev));
      return undefined;
    }
    encode(this.#batch, op, ifindex);
    this.#batched.push(each);
    return undefined;
  }

  async #carryOutAlone(each: Numbered, alone: Alone): Promise<void> {
    this.#flush();
    const error = await alone();
    if (error !== undefined) this.#fail(each, error);
  }

  /** How an operation is done that is no message of a batch. */
  #alone(op: KernelOp): Alone | undefined {
    if (op.op === "link.add") return () => this.#addLink(op, op.link);
    if (op.op === "connections.forget") return () => this.#forget(op);
    return isDatapathOp(op) ? () => this.#changeDatapath(op) : undefined;
  }

  async #changeDatapath(op: DatapathOp): Promise<KernelError | undefined> {
    const datapath = this.#sockets.datapath();
    if (datapath === undefined)
      return op.op === "datapath.remove" ? undefined : kernelError(op, "EPERM", "this process may not use BPF");
    const ifindexes = () => observeLinks(this.#sockets).map(({ ifindex }) => ifindex);
    try {
      await datapath.carryOut(op, (dev) => this.#indexOf(dev), ifindexes);
      return undefined;
    } catch (error) {
      return error instanceof SystemCallError ? kernelError(op, error.code, error.message) : thrownError(op, error);
    }
  }

  #forget(op: Extract<KernelOp, { op: "connections.forget" }>): KernelError | undefined {
    try {
      forgetConnections(this.#sockets, op);
      return undefined;
    } catch (error) {
      return thrownError(op, error);
    }
  }

  #flush(): void {
    const batched = this.#batched;
    if (batched.length === 0) return;
    const first = this.#batch.nextSequence - batched.length;
    this.#batched = [];
    this.#batch.acknowledgeLast();
    try {
      this.#sockets.route.execute(this.#batch, (sequence, verdict) => {
        const each = batched[sequence - first];
        if (each !== undefined && verdict.errno !== 0) this.#fail(each, refusedOp(each.op, verdict));
      });
    } catch (error) {
      // Which of them were carried out is not known: all are reported, and the next reading shows.
      for (const each of batched) this.#fail(each, thrownError(each.op, error));
    }
    this.#batch.clear();
  }

  #indexOf(dev: string): number | undefined {
    if (!this.#ifindexes.has(dev)) {
      let ifindex: number | undefined;
      const question = new MessageWriter();
      encodeLinkGet(question, dev);
      this.#sockets.route.ask(question, (message) => {
        ifindex = decodeIfindex(message);
      });
      this.#ifindexes.set(dev, ifindex);
    }
    return this.#ifindexes.get(dev);
  }

  /** In two steps: the second would otherwise mark somebody else's link of that name as ours. */
  #addLink(op: KernelOp, link: NewLink): KernelError | undefined {
    this.#ifindexes.delete(link.name);
    try {
      const made =
        link.kind === "veth" ? this.#addPair(link) : this.#executeOne((writer) => encodeLinkAdd(writer, link));
      const verdict =
        made.errno !== 0 ? made : this.#executeOne((writer) => encodeLinkMarks(writer, link, this.#sockets.hasIpv6()));
      return verdict.errno === 0 ? undefined : refusedOp(op, verdict);
    } catch (error) {
      return thrownError(op, error);
    }
  }

  /** The other end gets no link-local IPv6 address either: by netlink, because /proc/sys is slow (device-conf.ts). */
  #addPair(link: VethLink): Verdict {
    assert(link.peer !== undefined, `the veth ${link.name} is made with its other end`);
    const { name, netns: path } = link.peer;
    if (path === undefined) return this.#addPairHere(link, name);
    const open = this.#sockets.entered.get(path);
    const inside = open ?? openKernelSockets(path);
    try {
      const verdict = this.#executeOne((writer) => encodeLinkAdd(writer, link, inside.netns?.fd));
      if (verdict.errno !== 0 || !this.#sockets.hasIpv6()) return verdict;
      return executeOne(inside.route, (writer) => encodeLinkMarks(writer, { kind: "veth", name, up: false }, true));
    } finally {
      if (open === undefined) inside.close();
    }
  }

  #addPairHere(link: VethLink, other: string): Verdict {
    const verdict = this.#executeOne((writer) => encodeLinkAdd(writer, link));
    if (verdict.errno !== 0 || !this.#sockets.hasIpv6()) return verdict;
    return this.#executeOne((writer) => encodeLinkMarks(writer, { kind: "veth", name: other, up: false }, true));
  }

  #executeOne(encodeRequest: (writer: MessageWriter) => void): Verdict {
    return executeOne(this.#sockets.route, encodeRequest);
  }

  /** Those that were put off, in one go. */
  #setSysctls(): void {
    const put = this.#sysctls;
    if (put.length === 0) return;
    this.#sysctls = [];
    const errors = this.#sockets.writeSysctls(put.map(({ op }) => op.sysctl));
    for (const [i, each] of put.entries())
      if (errors[i] !== undefined) this.#fail(each, thrownError(each.op, errors[i]));
  }

  #transaction(ops: readonly NumberedNft[]): void {
    const refused = this.#tryTransaction(ops);
    if (refused === undefined) return;
    for (const each of ops) {
      const error = ops.length === 1 ? refused : this.#tryTransaction([each]);
      if (error !== undefined) this.#fail(each, error);
    }
  }

  /** The first error, after which nothing was changed; `undefined` when all was done. */
  #tryTransaction(ops: readonly NumberedNft[]): KernelError | undefined {
    const [first] = ops;
    const socket = this.#sockets.netfilter();
    if (first === undefined) return undefined;
    if (socket === undefined) return kernelError(first.op, "EPROTONOSUPPORT", "this kernel has no nftables");
    const request = new MessageWriter();
    let error: KernelError | undefined;
    try {
      encodeTransaction(request, () => {
        for (const { op } of ops) {
          const missing = encodeNftOp(
            request,
            op,
            (dev) => this.#indexOf(dev),
            (passage) => ownRules(socket, passage),
          );
          if (missing !== undefined) error ??= noDevice(op, missing.missingDevice);
        }
      });
      if (error !== undefined) return error;
      socket.execute(request, (_sequence, verdict) => {
        if (verdict.errno !== 0) error ??= refusedOp(first.op, verdict);
      });
    } catch (thrown) {
      return thrownError(first.op, thrown);
    }
    return error;
  }

  #fail({ index, op }: Numbered, error: KernelError): void {
    this.failures.push({ index, op, error });
  }
}

function executeOne(socket: NetlinkSocket, encodeRequest: (writer: MessageWriter) => void): Verdict {
  const request = new MessageWriter();
  encodeRequest(request);
  request.acknowledgeLast();
  return socket.ask(request, () => {});
}

type NumberedSysctl = { readonly index: number; readonly op: Extract<KernelOp, { op: "sysctl.set" }> };
type NumberedNft = { readonly index: number; readonly op: NftOp };

/** Writes the one message of an operation. `ifindex`: of the device that it is about, unless that is a link. */
function encode(writer: MessageWriter, op: KernelOp, ifindex = 0): void {
  switch (op.op) {
    case "link.set":
      encodeLinkSet(writer, op);
      break;
    case "address.replace":
      encodeAddressReplace(writer, op.address, ifindex);
      break;
    case "address.delete":
      encodeAddressDelete(writer, op.address, ifindex);
      break;
    case "route.replace":
      encodeRouteReplace(writer, op.route, ifindex);
      break;
    case "route.delete":
      encodeRouteDelete(writer, op.route, ifindex);
      break;
    case "rule.add":
      encodeRuleAdd(writer, op.rule);
      break;
    case "rule.delete":
      encodeRuleDelete(writer, op.rule);
      break;
    case "neighbor.replace":
      encodeNeighborReplace(writer, op.neighbor, ifindex);
      break;
    case "neighbor.delete":
      encodeNeighborDelete(writer, op.neighbor, ifindex);
      break;
    case "shaper.replace":
      encodeShaperReplace(writer, op.shaper, ifindex);
      break;
    case "shaper.delete":
      encodeShaperDelete(writer, ifindex);
      break;
    case "fdb.replace":
      encodeFdbReplace(writer, op.entry, ifindex);
      break;
    case "fdb.delete":
      encodeFdbDelete(writer, op.entry, ifindex);
      break;
  }
}

function noDevice(op: KernelOp, dev: string): KernelError {
  return kernelError(op, "ENODEV", `there is no device ${dev}`);
}

/** What a call threw instead of answering: a failed system call, a path that is no namespace. All else is a bug. */
function thrownError(op: KernelOp, error: unknown): KernelError {
  if (error instanceof Fault) return kernelError(op, String(error.facts.errno ?? error.code), error.message);
  const { errno } = error as NodeJS.ErrnoException; // a SystemCallError has it too
  if (errno === undefined) throw error;
  return refusedOp(op, { errno: -errno });
}

/**
 * Where programs are put: TCX, which newer kernels have (6.6), or a filter of `clsact`. Both stay until they are taken
 * away or the device is, whoever put them there; both replace a program in one step.
 */
import { SystemCallError } from "../ffi.ts";
import {
  decodeFilter,
  encodeClsactAdd,
  encodeFilterDelete,
  encodeFilterDump,
  encodeFilterReplace,
} from "../netlink/clsact-messages.ts";
import { MessageWriter } from "../netlink/message.ts";
import type { NetlinkSocket } from "../netlink-socket.ts";
import { inNetns, type Netns } from "../netns.ts";
import { attachTcx, closeAll, detachTcx, programById, programInfo, queryTcx } from "./bpf-calls.ts";

export type HookName = "tcx" | "clsact";

/** Ingress of devices of one network namespace. */
export interface Hook {
  /** Ids of the programs there, of others too. */
  programs(ifindex: number): readonly number[];
  /** @param replaced id of one of ours that is there. @throws SystemCallError */
  attach(ifindex: number, program: number, name: string, replaced: number | undefined): void;
  /** @param id of one of ours that is there. @throws SystemCallError */
  detach(ifindex: number, id: number): void;
}

export function hookOf(name: HookName, netns: Netns | undefined, route: NetlinkSocket): Hook {
  return name === "tcx" ? new TcxHook(netns) : new ClsactHook(route);
}

class TcxHook implements Hook {
  readonly #netns: Netns | undefined;

  constructor(netns: Netns | undefined) {
    this.#netns = netns;
  }

  programs(ifindex: number): readonly number[] {
    return inNetns(this.#netns, () => queryTcx(ifindex));
  }

  attach(ifindex: number, program: number, _name: string, replaced: number | undefined): void {
    const old = replaced === undefined ? undefined : programById(replaced);
    try {
      // The same program cannot take its own place.
      if (old !== undefined && programInfo(program).id === replaced) return;
      inNetns(this.#netns, () => attachTcx(ifindex, program, old));
    } finally {
      closeAll(old === undefined ? [] : [old]);
    }
  }

  detach(ifindex: number, id: number): void {
    const program = programById(id);
    if (program === undefined) return;
    try {
      inNetns(this.#netns, () => detachTcx(ifindex, program));
    } finally {
      closeAll([program]);
    }
  }
}

class ClsactHook implements Hook {
  readonly #route: NetlinkSocket;

  constructor(route: NetlinkSocket) {
    this.#route = route;
  }

  programs(ifindex: number): readonly number[] {
    const ids: number[] = [];
    const question = new MessageWriter();
    encodeFilterDump(question, ifindex);
    this.#route.ask(question, (message) => {
      if (message.type !== RTM_NEWTFILTER) return;
      const id = decodeFilter(message);
      if (id !== undefined) ids.push(id);
    });
    return ids;
  }

  attach(ifindex: number, program: number, name: string): void {
    this.#change("add qdisc clsact", (writer) => encodeClsactAdd(writer, ifindex), [EEXIST]);
    this.#change("attach", (writer) => encodeFilterReplace(writer, ifindex, program, name));
  }

  detach(ifindex: number): void {
    this.#change("detach", (writer) => encodeFilterDelete(writer, ifindex), [ENOENT]);
  }

  #change(what: string, encode: (writer: MessageWriter) => void, expected: readonly number[] = []): void {
    const request = new MessageWriter();
    encode(request);
    request.acknowledgeLast();
    const verdict = this.#route.ask(request, () => {});
    if (verdict.errno === 0 || expected.includes(verdict.errno)) return;
    throw new SystemCallError(`${what}${verdict.text === undefined ? "" : `: ${verdict.text}`}`, verdict.errno);
  }
}

const RTM_NEWTFILTER = 44;
const EEXIST = 17;
const ENOENT = 2;

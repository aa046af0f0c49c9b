/**
 * Where programs are put: TCX, which newer kernels have (6.6), or a filter of `clsact`. Both stay until they are taken
 * away or the device is, whoever put them there; both replace a program in one step.
 *
 * To put the first program on a device by TCX takes the kernel a grace period of RCU, 14 ms here, in which no device of
 * the host can be made or changed; by `clsact` 0.4 ms. So the two devices of the host have TCX, which costs a packet least,
 * and containers' veths, which come and go, `clsact` (docs/decisions/0041). Both are looked at whichever is used: a program
 * that was left at the other would go on with maps that nobody writes.
 */
import type { DatapathProgram } from "../../../core/host/datapath.ts";
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
interface Hook {
  /** Ids of the programs there, of others too. */
  programs(ifindex: number): readonly number[];
  /** @param replaced id of one of ours that is there. @throws SystemCallError */
  attach(ifindex: number, program: number, name: string, replaced: number | undefined): void;
  /** @param id of one of ours that is there. @throws SystemCallError */
  detach(ifindex: number, id: number): void;
}

/** A program on a device, and by which hook. */
export interface Hooked {
  readonly id: number;
  readonly hook: HookName;
}

/** Which hook the programs of the host's devices have, and those of containers. */
export interface HookChoice {
  readonly host: HookName;
  readonly container: HookName;
}

export class Hooks {
  readonly #choice: () => HookChoice;
  readonly #hooks: { readonly tcx: TcxHook; readonly clsact: ClsactHook };
  readonly #names: readonly HookName[];

  /** @param hasTcx whether the kernel has it; every one has the other */
  constructor(netns: Netns | undefined, route: NetlinkSocket, hasTcx: boolean, choice: () => HookChoice) {
    this.#hooks = { tcx: new TcxHook(netns), clsact: new ClsactHook(route) };
    this.#names = hasTcx ? ["tcx", "clsact"] : ["clsact"];
    this.#choice = choice;
  }

  /** Those of other people, too. */
  programs(ifindex: number): readonly Hooked[] {
    return this.#names.flatMap((hook) => this.#hooks[hook].programs(ifindex).map((id) => ({ id, hook })));
  }

  has(ifindex: number, { id, hook }: Hooked): boolean {
    return this.#hooks[hook].programs(ifindex).includes(id);
  }

  of(program: DatapathProgram): HookName {
    return program === "container" ? this.#choice().container : this.#choice().host;
  }

  /**
   * Puts a program there in the place of ours, whichever hook they are at.
   * @param ours those that are there. @throws SystemCallError
   */
  attach(ifindex: number, program: DatapathProgram, fd: number, name: string, ours: readonly Hooked[]): void {
    const hook = this.of(program);
    const same = ours.find((each) => each.hook === hook);
    this.#hooks[hook].attach(ifindex, fd, name, same?.id);
    for (const other of ours) if (other !== same) this.detach(ifindex, other);
  }

  /** For a container's program, before the device is up. @throws SystemCallError */
  prepare(ifindex: number): void {
    if (this.of("container") === "clsact") this.#hooks.clsact.prepare(ifindex);
  }

  detach(ifindex: number, { id, hook }: Hooked): void {
    this.#hooks[hook].detach(ifindex, id);
  }
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

  /** The kernel stops the queues of a device that is up meanwhile, and what is sent is lost. */
  prepare(ifindex: number): void {
    this.#change("add qdisc clsact", (writer) => encodeClsactAdd(writer, ifindex), [EEXIST]);
  }

  attach(ifindex: number, program: number, name: string): void {
    this.prepare(ifindex);
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

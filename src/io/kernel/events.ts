/**
 * Tells when a network namespace changed, by whomever: the kernel's notices of rtnetlink and nftables.
 *
 * Node polls no netlink socket. It does poll a stream socket, so one is made and its descriptor then becomes the
 * netlink socket (dup3), before the first read. A notice wakes the loop; all that wait are then read at once, and each
 * kind is reported once. When the kernel had to drop notices (ENOBUFS) the sockets are opened anew and `overrun` is
 * reported: whoever listens reads everything again.
 */
import { Socket } from "node:net";
import { NOTICE_BUFFER_BYTES, NOTICE_MAX_BYTES, NOTICE_REOPEN_MS, NOTICES_AT_ONCE_MAX } from "../../model/limits.ts";
import type { KernelChange, Watch } from "../ports.ts";
import { bindNetlink, closeFd, duplicateOnto, netlinkSocket, receive, setSocketOption, streamPair } from "./ffi.ts";
import { type Message, readMessages } from "./netlink/message.ts";
import { isResolution } from "./netlink/neighbor-messages.ts";
import { NETLINK_NETFILTER, NETLINK_ROUTE, SOL_NETLINK, setReceiveBuffer } from "./netlink-socket.ts";
import { inNetns, type Netns, withRights } from "./netns.ts";

const NETLINK_ADD_MEMBERSHIP = 1;

/** linux/rtnetlink.h, RTNLGRP_: link, neigh, then address, route, rule of IPv4 and IPv6, netconf of both. */
const ROUTE_GROUPS = [1, 3, 5, 7, 8, 9, 11, 19, 24, 25];
const NFNLGRP_NFTABLES = 7;

type Kind = KernelChange["kind"];
/** RTM_NEW and RTM_DEL of each kind, without the lowest two bits. */
const KINDS: Readonly<Record<number, Kind>> = {
  4: "link",
  5: "address",
  6: "route",
  7: "neighbor",
  8: "rule",
  20: "netconf",
};

const notice = new Uint8Array(NOTICE_MAX_BYTES);

/**
 * Watches the namespace from the moment of return on.
 * @param netns stays the caller's; `undefined` is the one the process is in
 * @throws Fault no-rights
 */
export function watchNetns(netns: Netns | undefined, onChange: (change: KernelChange) => void): Watch {
  const sources = [new NoticeSource(netns, NETLINK_ROUTE, ROUTE_GROUPS, kindOfRouteNotice, onChange)];
  try {
    sources.push(new NoticeSource(netns, NETLINK_NETFILTER, [NFNLGRP_NFTABLES], () => "nftables", onChange));
  } catch (error) {
    for (const source of sources) source.close();
    throw error;
  }
  return {
    close() {
      for (const source of sources) source.close();
    },
  };
}

class NoticeSource {
  readonly #netns: Netns | undefined;
  readonly #protocol: number;
  readonly #groups: readonly number[];
  readonly #kindOf: (message: Message) => Kind | undefined;
  readonly #onChange: (change: KernelChange) => void;
  #socket: Socket | undefined;
  #reopening: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(
    netns: Netns | undefined,
    protocol: number,
    groups: readonly number[],
    kindOf: (message: Message) => Kind | undefined,
    onChange: (change: KernelChange) => void,
  ) {
    this.#netns = netns;
    this.#protocol = protocol;
    this.#groups = groups;
    this.#kindOf = kindOf;
    this.#onChange = onChange;
    this.#open();
  }

  close(): void {
    this.#closed = true;
    this.#socket?.destroy();
    clearTimeout(this.#reopening);
  }

  #open(): void {
    const fd = openNoticeFd(this.#netns, this.#protocol, this.#groups);
    const socket = new Socket({ fd: fd.readable, readable: true, writable: false });
    fd.become();
    this.#socket = socket;
    socket.on("data", (first: Uint8Array) => this.#read(fd.readable, first));
    // ENOBUFS, and whatever else ends the stream, mean the same: notices were lost.
    socket.on("error", () => {});
    socket.on("close", () => this.#reopen());
  }

  #reopen(): void {
    if (this.#closed) return;
    try {
      this.#open();
      this.#onChange({ kind: "overrun" });
    } catch {
      this.#reopening = setTimeout(() => this.#reopen(), NOTICE_REOPEN_MS);
    }
  }

  #read(fd: number, first: Uint8Array): void {
    const kinds = new Set<Kind>();
    try {
      this.#collect(first, kinds);
      for (let count = 0; count < NOTICES_AT_ONCE_MAX; count++) {
        const length = receive(fd, notice);
        if (length === undefined) break;
        this.#collect(notice.subarray(0, length), kinds);
      }
    } catch {
      this.#socket?.destroy(); // and is opened again
    }
    for (const kind of kinds) this.#onChange({ kind });
  }

  #collect(datagram: Uint8Array, kinds: Set<Kind>): void {
    for (const message of readMessages(datagram)) {
      const kind = this.#kindOf(message);
      if (kind !== undefined) kinds.add(kind);
    }
  }
}

/** A netlink socket that belongs to the groups, behind a descriptor that Node takes for a stream until `become`. */
function openNoticeFd(netns: Netns | undefined, protocol: number, groups: readonly number[]) {
  const netlink = inNetns(netns, () => netlinkSocket(protocol));
  try {
    bindNetlink(netlink);
    setReceiveBuffer(netlink, NOTICE_BUFFER_BYTES);
    withRights("watch the kernel", () => {
      for (const group of groups) setSocketOption(netlink, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group);
    });
    const [readable, other] = streamPair();
    closeFd(other);
    return {
      readable,
      become: () => {
        duplicateOnto(netlink, readable);
        closeFd(netlink);
      },
    };
  } catch (error) {
    closeFd(netlink);
    throw error;
  }
}

function kindOfRouteNotice(message: Message): Kind | undefined {
  const kind = KINDS[message.type >> 2];
  return kind === "neighbor" && isResolution(message) ? undefined : kind;
}

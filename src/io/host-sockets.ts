/**
 * Who of this host's processes holds a port, read from /proc: the tables of sockets (proc_pid_net(5)), and the open files
 * of every process to name the one behind a socket.
 *
 * Asked only when a container wants a host port, so it may cost a few milliseconds; nothing is remembered. Reads are
 * synchronous because they must see the namespace that the process lives in.
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { bytesToIp, type Ip } from "../model/ip.ts";
import type { HostSockets, SocketHolder } from "./ports.ts";

/** linux/net/tcp_states.h; a UDP socket that is bound and not connected is in the state "closed". */
const LISTENING = { tcp: "0A", udp: "07" } as const;

export const HOST_SOCKETS: HostSockets = {
  holders: (protocol, port) =>
    [protocol, `${protocol}6`].flatMap((table) =>
      socketsOf(readTable(table), LISTENING[protocol])
        .filter((socket) => socket.port === port)
        .map(({ address, inode }): SocketHolder => ({ address, ...processOf(inode) })),
    ),
};

interface BoundSocket {
  readonly address: Ip;
  readonly port: number;
  readonly inode: string;
}

/** The sockets of one table (the text of /proc/net/tcp, tcp6, udp or udp6) that are in `state`. */
export function socketsOf(table: string, state: string): readonly BoundSocket[] {
  return table
    .split("\n")
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[3] === state)
    .map(([, local = "", , , , , , , , inode = ""]) => {
      const [address = "", port = ""] = local.split(":");
      return { address: bytesToIp(Buffer.from(address, "hex").swap32()), port: Number.parseInt(port, 16), inode };
    });
}

/** A kernel without IPv6 has no table of it. */
function readTable(name: string): string {
  try {
    return readFileSync(`/proc/self/net/${name}`, "utf8");
  } catch {
    return "";
  }
}

function processOf(inode: string): Pick<SocketHolder, "pid" | "command"> {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  const pid = pids.find((each) => opens(each, `socket:[${inode}]`));
  if (pid === undefined) return { command: "" };
  return { pid: Number(pid), command: commandOf(pid) };
}

function opens(pid: string, target: string): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => linkOf(`/proc/${pid}/fd/${fd}`) === target);
  } catch {
    return false; // it has ended, or is not ours to look into
  }
}

function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined; // closed meanwhile
  }
}

/** The command line, its arguments parted by spaces. */
function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim();
  } catch {
    return "";
  }
}

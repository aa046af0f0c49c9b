/**
 * Deletes a device without waiting for all that the kernel does with the request.
 *
 * The kernel unlists the device, drops what was on it and lets go of its lock within a millisecond; then it waits, inside
 * the same system call, until no processor can still look at the device (some ten milliseconds, net/core/dev.c,
 * netdev_run_todo). So a thread sends the request, on a socket of its own, and the device counts as deleted as soon as
 * the kernel knows it no more: it answers that question only when it has let go of its lock.
 */
import { setImmediate } from "node:timers/promises";
import { LINK_DELETIONS_AT_ONCE_MAX } from "../../model/limits.ts";
import type { KernelSockets } from "./kernel-sockets.ts";
import type { Verdict } from "./netlink/error-message.ts";
import { encodeLinkDelete, encodeLinkGet } from "./netlink/link-messages.ts";
import { MessageWriter } from "./netlink/message.ts";
import type { NetlinkSocket } from "./netlink-socket.ts";

const ENODEV = 19;

/** Threads are the process's, whatever the namespace. */
let threads = 0;
const waiting: (() => void)[] = [];

/**
 * @returns once the device is gone, or the kernel has refused
 * @throws SystemCallError
 */
export async function deleteLink(sockets: KernelSockets, ifindex: number): Promise<Verdict> {
  await takeThread();
  let verdict: Verdict | undefined;
  const sent = sendDeletion(sockets, ifindex).then((answer) => {
    verdict = answer;
  });
  // One that fails after the device is gone is of no interest.
  sent.catch(() => {});
  while (verdict === undefined) {
    await Promise.race([sent, setImmediate()]);
    if (verdict === undefined && !isThere(sockets.route, ifindex)) return { errno: 0 };
  }
  return verdict;
}

async function sendDeletion(sockets: KernelSockets, ifindex: number): Promise<Verdict> {
  try {
    const socket = sockets.openRoute();
    try {
      const request = new MessageWriter();
      encodeLinkDelete(request, ifindex);
      request.acknowledgeLast();
      return await socket.executeInThread(request);
    } finally {
      socket.close();
    }
  } finally {
    leaveThread();
  }
}

function isThere(socket: NetlinkSocket, ifindex: number): boolean {
  const question = new MessageWriter();
  encodeLinkGet(question, ifindex);
  return socket.ask(question, () => {}).errno !== ENODEV;
}

async function takeThread(): Promise<void> {
  if (threads < LINK_DELETIONS_AT_ONCE_MAX) {
    threads++;
    return;
  }
  const { promise, resolve } = Promise.withResolvers<void>();
  waiting.push(resolve);
  await promise; // the thread is handed over
}

function leaveThread(): void {
  const next = waiting.shift();
  if (next === undefined) threads--;
  else next();
}

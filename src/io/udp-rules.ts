/**
 * What every socket of the Udp port refuses before the network sees it, real or simulated, so that the two cannot part.
 *
 * Node queues datagrams without a bound when the kernel's send buffer is full. The bound is here, and it is lower for
 * bulk: what is sent behind a long queue waits for all of it, and probes that wait become false accusations.
 */

import { type Family, familyOf } from "../model/ip.ts";
import { DATAGRAM_MAX_BYTES, UDP_BULK_QUEUE_MAX, UDP_CONTROL_QUEUE_MAX } from "../model/limits.ts";
import type { SendClass, UdpAddress, UdpCounters, UdpRefusal } from "./ports.ts";

export function newUdpCounters(): UdpCounters {
  return {
    sent: 0,
    sentBytes: 0,
    received: 0,
    receivedBytes: 0,
    refused: { closed: 0, "queue-full-bulk": 0, "queue-full-control": 0, "too-long": 0, unreachable: 0 },
    failed: {},
    receiveFailed: {},
    unaddressable: 0,
  };
}

/** Whether a socket with `queued` datagrams in its queue takes no more of this class. */
export function queueIsFull(queued: number, sendClass: SendClass): boolean {
  return queued >= (sendClass === "bulk" ? UDP_BULK_QUEUE_MAX : UDP_CONTROL_QUEUE_MAX);
}

/** Why an open socket of the family takes no datagram of `bytes` to `to`, whatever its queue. */
export function refusalOf(family: Family, to: UdpAddress, bytes: number): UdpRefusal | undefined {
  if (bytes > DATAGRAM_MAX_BYTES) return "too-long";
  const isPort = Number.isInteger(to.port) && to.port >= 1 && to.port <= 65_535;
  return isPort && familyOf(to.ip) === family ? undefined : "unreachable";
}

/** Counts the refusal, and gives it back. */
export function countRefusal(counters: UdpCounters, refusal: UdpRefusal, sendClass: SendClass): UdpRefusal {
  counters.refused[refusal === "queue-full" ? (`queue-full-${sendClass}` as const) : refusal]++;
  return refusal;
}

export function countErrno(counts: Record<string, number>, errno: string): void {
  counts[errno] = (counts[errno] ?? 0) + 1;
}

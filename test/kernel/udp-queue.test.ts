/**
 * A socket whose host sends slower than it is given: Node would queue without end. In a namespace of its own, whose
 * loopback device is held to a rate.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { inNetns, openNetns } from "../../src/io/kernel/netns.ts";
import type { SendClass } from "../../src/io/ports.ts";
import { SYSTEM_UDP } from "../../src/io/udp.ts";
import { ip } from "../../src/model/ip.ts";
import { DATAGRAM_MAX_BYTES, UDP_BULK_QUEUE_MAX, UDP_CONTROL_QUEUE_MAX } from "../../src/model/limits.ts";
import { openTestNetns } from "../support/netns.ts";

const AT = { ip: ip("127.0.0.1"), port: 0 };
/** More than the kernel's send buffer and the queue of control together hold. */
const PLENTY = 3_000;

test("bulk is refused when it would wait long, control goes on up to its own bound", { timeout: 30_000 }, async (t) => {
  const { path, run } = await openTestNetns(t);
  const netns = openNetns(path);
  // A socket belongs to the namespace that it is made in, which happens before the first wait.
  const opening = inNetns(netns, () => SYSTEM_UDP.open(AT, () => {}));
  netns.close();
  const socket = await opening;
  t.after(() => socket.close());
  const sendUntilFull = (sendClass: SendClass): number => {
    for (let taken = 0; taken < PLENTY; taken++)
      if (socket.send(socket.local, Buffer.alloc(DATAGRAM_MAX_BYTES), sendClass) === "queue-full") return taken;
    return PLENTY;
  };
  assert.equal(sendUntilFull("bulk"), PLENTY, "positive control: all is taken while the device is fast");
  assert.equal(socket.queued, 0);

  run("tc", "qdisc", "add", "dev", "lo", "root", "tbf", "rate", "1mbit", "burst", "2000", "limit", "10000000");
  assert.ok(sendUntilFull("bulk") < PLENTY);
  assert.equal(socket.queued, UDP_BULK_QUEUE_MAX);
  assert.equal(sendUntilFull("control"), UDP_CONTROL_QUEUE_MAX - UDP_BULK_QUEUE_MAX);
  assert.equal(socket.queued, UDP_CONTROL_QUEUE_MAX);
  const { refused, failed } = socket.counters;
  assert.deepEqual([refused["queue-full-bulk"], refused["queue-full-control"], failed], [1, 1, {}]);

  run("tc", "qdisc", "del", "dev", "lo", "root");
  while (socket.queued > 0) await sleep(1);
  assert.equal(socket.send(socket.local, Buffer.from("x"), "bulk"), undefined);
});

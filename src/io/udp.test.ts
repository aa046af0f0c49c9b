import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { ip } from "../model/ip.ts";
import { UDP_RECEIVE_BUFFER_BYTES } from "../model/limits.ts";
import { SYSTEM_UDP } from "./udp.ts";

test("a socket gets the receive buffer that it asks for, as far as the kernel gives it, and says so", async (t) => {
  const socket = await SYSTEM_UDP.open({ ip: ip("127.0.0.1"), port: 0 }, () => {});
  t.after(() => socket.close());
  const most = Number(readFileSync("/proc/sys/net/core/rmem_max", "utf8"));
  // socket(7): the kernel doubles what it is asked for.
  assert.equal(socket.receiveBufferBytes, 2 * Math.min(most, UDP_RECEIVE_BUFFER_BYTES));
});

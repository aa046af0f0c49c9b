import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { test } from "node:test";
import { HOST_SOCKETS, socketsOf } from "./host-sockets.ts";

test("the addresses of both families are read from the kernel's tables", () => {
  const head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
  const line = (local: string, state: string, inode: number) =>
    `   0: ${local} 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000     0        0 ${inode} 1 0 100 0 0 10 0\n`;
  assert.deepEqual(socketsOf(head + line("0100007F:1F90", "0A", 7) + line("0100007F:1F91", "01", 8), "0A"), [
    { address: "127.0.0.1", port: 8080, inode: "7" },
  ]);
  const v6 = line("B80D0120000000000000000001000000:0050", "07", 9);
  assert.deepEqual(socketsOf(head + v6, "07"), [{ address: "2001:db8::1", port: 80, inode: "9" }]);
  assert.deepEqual(socketsOf("", "0A"), []);
});

test("a process that listens is found, by port and by name, and is gone when it has closed", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const [holder, ...others] = HOST_SOCKETS.holders("tcp", port);
  assert.deepEqual(others, []);
  assert.equal(holder?.address, "127.0.0.1");
  assert.equal(holder?.pid, process.pid);
  assert.match(holder?.command ?? "", /node/);
  assert.deepEqual(HOST_SOCKETS.holders("udp", port), []);
  server.close();
  await once(server, "close");
  assert.deepEqual(HOST_SOCKETS.holders("tcp", port), []);
});

test("a UDP socket that is bound holds its port", async () => {
  const socket = createSocket("udp4").bind(0, "127.0.0.1");
  await once(socket, "listening");
  assert.equal(HOST_SOCKETS.holders("udp", socket.address().port)[0]?.pid, process.pid);
  socket.close();
});

/**
 * What the Udp port promises, as tests that run against sockets of Linux and against the simulated network alike. All of
 * it was seen on Linux 6.18, and none of it leaves the loopback device.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Udp, UdpAddress, UdpSocket } from "../../src/io/ports.ts";
import { ip } from "../../src/model/ip.ts";
import { DATAGRAM_MAX_BYTES } from "../../src/model/limits.ts";

export interface UdpUnderTest {
  /** Of a host with the addresses of LOOPBACK. */
  readonly udp: Udp;
  /** Lets time pass until the condition holds; fails when it does not. */
  until(condition: () => boolean): Promise<void>;
}

export const LOOPBACK = [ip("127.0.0.1"), ip("127.0.0.2"), ip("::1")] as const;
const [ONE, TWO, SIX] = LOOPBACK;
const FOREIGN = ip("192.0.2.1");

interface Arrival {
  readonly datagram: Buffer;
  readonly from: UdpAddress;
}

/** A socket, and what it received. */
type Open = (address?: typeof ONE, port?: number) => Promise<{ socket: UdpSocket; arrivals: Arrival[] }>;
type Test = (what: string, body: (world: UdpUnderTest & { open: Open }) => Promise<void>) => void;

/** Registers the suite. `start` is called once for each test. */
export function udpContract(name: string, start: () => UdpUnderTest): void {
  const test: Test = (what, body) => {
    it(what, { timeout: 10_000 }, async (t) => {
      const world = start();
      const open: Open = async (address = ONE, port = 0) => {
        const arrivals: Arrival[] = [];
        const socket = await world.udp.open({ ip: address, port }, (datagram, from) =>
          arrivals.push({ datagram, from }),
        );
        t.after(() => socket.close());
        return { socket, arrivals };
      };
      await body({ ...world, open });
    });
  };
  describe(`udp contract: ${name}`, () => {
    arrivalTests(test);
    refusalTests(test);
    closingTests(test);
  });
}

function arrivalTests(test: Test): void {
  test("a datagram of any allowed size arrives as it was sent, with its sender's address, by both families", async (world) => {
    for (const [from, to] of [
      [ONE, TWO],
      [SIX, SIX],
    ] as const) {
      const sender = await world.open(from);
      const receiver = await world.open(to);
      for (const length of [0, 1, DATAGRAM_MAX_BYTES]) {
        const datagram = Buffer.alloc(length, length);
        assert.equal(sender.socket.send(receiver.socket.local, datagram, "bulk"), undefined);
        await world.until(() => receiver.arrivals.length > 0);
        assert.deepEqual(receiver.arrivals.splice(0), [{ datagram, from: sender.socket.local }]);
      }
      const { sent, sentBytes } = sender.socket.counters;
      const { received, receivedBytes } = receiver.socket.counters;
      assert.deepEqual([sent, sentBytes], [3, DATAGRAM_MAX_BYTES + 1]);
      assert.deepEqual([received, receivedBytes], [sent, sentBytes]);
      assert.equal(sender.socket.queued, 0);
    }
  });

  test("nothing arrives during a call of send, even at oneself", async ({ open, until }) => {
    const { socket, arrivals } = await open();
    for (const text of ["one", "two"]) socket.send(socket.local, Buffer.from(text), "control");
    assert.deepEqual(arrivals, []);
    await until(() => arrivals.length === 2);
    assert.deepEqual(
      arrivals.map(({ datagram }) => String(datagram)),
      ["one", "two"],
    );
  });

  test("a socket has a port of its own and a receive buffer, and says which", async ({ open }) => {
    const sockets = [await open(), await open(), await open(SIX)].map(({ socket }) => socket);
    assert.deepEqual(
      sockets.map(({ local }) => local.ip),
      [ONE, ONE, SIX],
    );
    assert.notEqual(sockets[0]?.local.port, sockets[1]?.local.port);
    for (const { local, receiveBufferBytes } of sockets) {
      assert.ok(local.port > 0);
      assert.ok(receiveBufferBytes > 100_000, `${receiveBufferBytes} bytes`);
    }
  });
}

function refusalTests(test: Test): void {
  test("an address and port can be had once, and again when it was closed; another address's is another", async (world) => {
    const { port } = (await world.open()).socket.local;
    await assert.rejects(world.open(ONE, port), { name: "Fault", code: "port-taken" });
    const other = await world.open(TWO, port);
    await other.socket.close();
    await world.open(TWO, port);
  });

  test("an address that this host has not cannot be had", async ({ open }) => {
    await assert.rejects(open(FOREIGN), { name: "Fault", code: "bad-request" });
  });

  test("what cannot be sent is refused and counted, and the next datagram goes", async ({ open, until }) => {
    const { socket, arrivals } = await open();
    const x = Buffer.from("x");
    assert.equal(socket.send(socket.local, Buffer.alloc(DATAGRAM_MAX_BYTES + 1), "bulk"), "too-long");
    assert.equal(socket.send({ ip: SIX, port: 9 }, x, "control"), "unreachable");
    for (const port of [0, -1, 1.5, 65_536, Number.NaN])
      assert.equal(socket.send({ ip: ONE, port }, x, "control"), "unreachable");
    assert.equal(socket.send(socket.local, x, "control"), undefined);
    await until(() => arrivals.length === 1);
    const { refused, sent, failed } = socket.counters;
    assert.deepEqual(refused, {
      closed: 0,
      "queue-full-bulk": 0,
      "queue-full-control": 0,
      "too-long": 1,
      unreachable: 6,
    });
    assert.deepEqual([sent, failed], [1, {}]);
  });

  test("what the kernel refuses is counted by its errno", async ({ open, until }) => {
    const { socket, arrivals } = await open();
    for (const address of [ip("255.255.255.255"), FOREIGN, FOREIGN])
      assert.equal(socket.send({ ip: address, port: 9 }, Buffer.from("x"), "control"), undefined);
    await until(() => socket.counters.failed.EINVAL === 2);
    assert.deepEqual({ ...socket.counters.failed }, { EACCES: 1, EINVAL: 2 });
    socket.send(socket.local, Buffer.from("x"), "control");
    await until(() => arrivals.length === 1);
  });

  test("what goes to nobody vanishes: no error, then or later", async ({ open, until }) => {
    const gone = await open(TWO);
    await gone.socket.close();
    const { socket, arrivals } = await open();
    for (let i = 0; i < 3; i++) {
      socket.send(gone.socket.local, Buffer.from("x"), "control");
      socket.send(socket.local, Buffer.from("x"), "control");
      await until(() => arrivals.length === i + 1);
    }
    assert.deepEqual([socket.counters.failed, socket.counters.receiveFailed], [{}, {}]);
  });
}

function closingTests(test: Test): void {
  test("a closed socket takes nothing, gives up nothing, and can be closed again", async ({ open, until }) => {
    const sender = await open();
    const closed = await open(TWO);
    const witness = await open(TWO);
    const x = Buffer.from("x");
    for (const { socket } of [closed, witness]) sender.socket.send(socket.local, x, "control");
    await until(() => closed.arrivals.length === 1 && witness.arrivals.length === 1);
    for (const { socket } of [closed, witness]) sender.socket.send(socket.local, x, "control");
    const closing = closed.socket.close();
    assert.equal(closed.socket.send(sender.socket.local, x, "control"), "closed");
    assert.equal(closed.socket.queued, 0);
    await closing;
    await closed.socket.close();
    await until(() => witness.arrivals.length === 2);
    assert.equal(closed.arrivals.length, 1);
    assert.equal(closed.socket.counters.refused.closed, 1);
  });
}

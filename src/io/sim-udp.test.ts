import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ip } from "../model/ip.ts";
import { UDP_BULK_QUEUE_MAX, UDP_CONTROL_QUEUE_MAX } from "../model/limits.ts";
import type { UdpSocket } from "./ports.ts";
import { SimClock } from "./sim-clock.ts";
import { SimNetwork } from "./sim-udp.ts";

const [A, B] = [ip("10.0.0.1"), ip("10.0.0.2")];

async function twoHosts(): Promise<{
  clock: SimClock;
  network: SimNetwork;
  a: UdpSocket;
  b: UdpSocket;
  heard: string[];
}> {
  const clock = new SimClock();
  const network = new SimNetwork(clock);
  const heard: string[] = [];
  const a = await network.host(A).open({ ip: A, port: 7_946 }, () => {});
  const b = await network
    .host(B)
    .open({ ip: B, port: 7_946 }, (datagram) => heard.push(`${clock.now()} ms: ${datagram}`));
  return { clock, network, a, b, heard };
}

describe("the simulated network", () => {
  it("loses, delays and doubles as it is told", async () => {
    const { clock, network, a, b, heard } = await twoHosts();
    const fates = [[5], [], [2, 7]];
    network.fate = () => fates.shift() ?? [];
    for (const text of ["late", "lost", "twice"]) a.send(b.local, Buffer.from(text), "control");
    clock.advance(100);
    assert.deepEqual(heard, ["2 ms: twice", "5 ms: late", "7 ms: twice"]);
  });

  it("lets what cannot leave wait: bulk up to its bound, control up to a higher one, and all goes in order", async () => {
    const { clock, network, a, b, heard } = await twoHosts();
    network.stall(A);
    const send = (sendClass: "bulk" | "control", text: string) => a.send(b.local, Buffer.from(text), sendClass);
    for (let i = 0; i < UDP_BULK_QUEUE_MAX; i++) assert.equal(send("bulk", "bulk"), undefined);
    assert.equal(send("bulk", "bulk"), "queue-full");
    for (let i = UDP_BULK_QUEUE_MAX; i < UDP_CONTROL_QUEUE_MAX; i++)
      assert.equal(send("control", "control"), undefined);
    assert.equal(send("control", "control"), "queue-full");
    assert.equal(a.queued, UDP_CONTROL_QUEUE_MAX);
    assert.deepEqual([a.counters.refused["queue-full-bulk"], a.counters.refused["queue-full-control"]], [1, 1]);
    clock.advance(100);
    assert.deepEqual(heard, []);
    network.resume(A);
    clock.advance(100);
    assert.equal(heard.length, UDP_CONTROL_QUEUE_MAX);
    assert.equal(a.queued, 0);
    assert.match(`${heard[0]} ${heard.at(-1)}`, /bulk .*control$/);
    assert.equal(send("bulk", "bulk"), undefined);
  });

  it("drops what waits in a socket that closes", async () => {
    const { clock, network, a, b, heard } = await twoHosts();
    a.send(b.local, Buffer.from("before"), "control");
    network.stall(A);
    a.send(b.local, Buffer.from("waiting"), "control");
    await a.close();
    network.resume(A);
    clock.advance(100);
    assert.deepEqual(heard, ["0 ms: before"]);
  });
});

/** Linux's sockets and the simulated network keep the Udp port's contract. */
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { SimClock } from "../../src/io/sim-clock.ts";
import { SimNetwork } from "../../src/io/sim-udp.ts";
import { SYSTEM_UDP } from "../../src/io/udp.ts";
import { LOOPBACK, udpContract } from "./udp-contract.ts";

const PATIENCE_MS = 5_000;

udpContract("linux", () => ({
  udp: SYSTEM_UDP,
  until: async (condition) => {
    const deadline = performance.now() + PATIENCE_MS;
    while (!condition()) {
      assert.ok(performance.now() < deadline, `within ${PATIENCE_MS} ms: ${condition}`);
      await sleep(1);
    }
  },
}));

udpContract("simulated", () => {
  const clock = new SimClock();
  return {
    udp: new SimNetwork(clock).host(...LOOPBACK),
    until: async (condition) => {
      clock.advance(PATIENCE_MS);
      assert.ok(condition(), `within ${PATIENCE_MS} ms: ${condition}`);
    },
  };
});

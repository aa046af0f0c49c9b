/**
 * What is published at rest: small changes, one after the other, each of which must reach everybody soon. Who is late is
 * for the invariants to tell.
 */
import { living, type World } from "./invariants.ts";

/** Publications at rest, this far apart, and the time after the last one. */
const PULSES = 6;
const PULSE_MS = 500;
const PULSES_END_MS = 2_000;

export class Pulses {
  readonly #world: World;
  #count = 0;

  constructor(world: World) {
    this.#world = world;
  }

  run(): void {
    const { engine, fraction } = this.#world.cluster;
    for (let n = 0; n < PULSES; n += 1) {
      const members = living(this.#world);
      const owner = members[Math.floor(fraction() * members.length)];
      if (owner === undefined) return;
      this.#count += 1;
      const value = Uint8Array.of(this.#count, this.#count >> 8);
      this.#world.fates.get(owner.id)?.wanted.set("pulse", value);
      owner.publish(new Map([["pulse", value]]));
      engine.runFor(PULSE_MS);
    }
    engine.runFor(PULSES_END_MS);
  }
}

/**
 * The Random port from a seed: the same seed gives the same history.
 */
import type { Random } from "../../src/io/ports.ts";

/** splitmix32, which is no source of secrets. */
export function seededRandom(seed: number): Pick<Random, "fraction"> {
  let state = seed >>> 0;
  return {
    fraction: () => {
      state = (state + 0x9e3779b9) >>> 0;
      let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
      mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
      return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32;
    },
  };
}

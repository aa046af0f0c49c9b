/**
 * Chance: the system's, and a seeded twin that replays.
 */
import { randomUUID } from "node:crypto";
import type { Random } from "./ports.ts";

export const systemRandom: Random = { fraction: Math.random, uuid: randomUUID };

/** The same seed gives the same sequence (splitmix32, which is no source of secrets). */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  };
  const hex = (): string => next().toString(16).padStart(8, "0");
  return {
    fraction: () => next() / 2 ** 32,
    uuid: () => {
      const digits = hex() + hex() + hex() + hex();
      return `${digits.slice(0, 8)}-${digits.slice(8, 12)}-4${digits.slice(13, 16)}-8${digits.slice(17, 20)}-${digits.slice(20)}`;
    },
  };
}

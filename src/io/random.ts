/**
 * Chance behind the Random port, from the crypto source: identities made of it are not to be guessed.
 */
import { randomBytes, randomUUID } from "node:crypto";
import type { Random } from "./ports.ts";

const BITS = 2 ** 32;

export const SYSTEM_RANDOM: Random = {
  fraction: () => randomBytes(4).readUInt32BE() / BITS,
  uuid: () => randomUUID(),
};

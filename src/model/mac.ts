/**
 * MAC addresses as canonical text: six lower-case hexadecimal bytes with colons (`70:b3:d5:80:00:01`).
 */
import { assert } from "./fault.ts";

declare const macBrand: unique symbol;
export type Mac = string & { readonly [macBrand]: true };

/** Parses six colon-separated pairs of hexadecimal digits of either case. */
export function parseMac(text: string): Mac | undefined {
  return /^([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}$/.test(text) ? (text.toLowerCase() as Mac) : undefined;
}

/** The MAC for a literal in code or a value that was validated before. Anything else is a bug. */
export function mac(text: string): Mac {
  const parsed = parseMac(text);
  assert(parsed !== undefined, `${text} is a MAC address`);
  return parsed;
}

export function macToBytes(value: Mac): Uint8Array {
  return Uint8Array.from(value.split(":"), (byte) => Number.parseInt(byte, 16));
}

export function bytesToMac(bytes: Uint8Array): Mac {
  assert(bytes.length === 6, `a MAC address has 6 bytes, not ${bytes.length}`);
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(":") as Mac;
}

/**
 * The nodes that the file names. Weft does not need the lists (agents come by themselves), but they tell where the
 * underlay is, and that no overlay may cover it.
 */
import { parseIp } from "../../model/ip.ts";
import type { Placed } from "./address-space.ts";
import { quote } from "./problems.ts";
import type { Section } from "./section.ts";

const LISTS = ["master_list", "agent_list", "public_agent_list"];

/** The addresses of all lists. A list may also be a string of JSON, as the original's generator writes it. */
export function readNodes(root: Section): Placed[] {
  return LISTS.flatMap((key) => readList(root, key));
}

function readList(root: Section, key: string): Placed[] {
  const right = "give a list of IP addresses, or leave the key out";
  const value = decodeList(root.raw(key));
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) {
    root.refuse(key, `${quote(value)} is not a list`, right);
    return [];
  }
  return value.flatMap((entry: unknown, i) => {
    const ip = typeof entry === "string" ? parseIp(entry.trim()) : undefined;
    if (ip === undefined) root.refuse(`${key}[${i}]`, `${quote(entry)} is not an IP address`, right);
    return ip === undefined ? [] : [{ path: root.at(`${key}[${i}]`), ip }];
  });
}

function decodeList(value: unknown): unknown {
  if (typeof value !== "string") return value;
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

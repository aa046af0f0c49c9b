/**
 * Address families as netlink numbers them, in the first byte of most messages. AF_BRIDGE stands for the forwarding
 * tables of devices, those of VXLAN among them. Source: bits/socket.h.
 */
import type { Family } from "../../../model/ip.ts";

export const AF_INET = 2;
export const AF_BRIDGE = 7;
export const AF_INET6 = 10;

export function familyNumber(family: Family): number {
  return family === 4 ? AF_INET : AF_INET6;
}

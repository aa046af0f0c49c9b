/**
 * Which of its addresses this host uses towards another one. The kernel's routing decides it when a UDP socket is
 * connected; nothing is sent.
 */
import { createSocket } from "node:dgram";
import { lookup } from "node:dns/promises";
import { Fault, messageOf } from "../model/fault.ts";
import { type Ip, parseIp } from "../model/ip.ts";

/** Any port does: no packet leaves. */
const ANY_PORT = 9;
const GIVE_ONE = "give this host's address on the network between the hosts with --ip ADDRESS";

/** @throws Fault bad-request when `host` has no address, there is no way to it, or the way is the loopback device */
export async function sourceAddressTowards(host: string): Promise<Ip> {
  const source = await sourceTowards(host).catch((thrown: unknown) => {
    const why = `cannot tell which address this host has towards ${host}: ${messageOf(thrown)}; ${GIVE_ONE}`;
    throw new Fault("bad-request", why);
  });
  if (!isLoopback(source)) return source;
  throw new Fault("bad-request", `the master at ${host} is reached by the loopback device; ${GIVE_ONE}`);
}

async function sourceTowards(host: string): Promise<Ip> {
  const { address, family } = await lookup(host);
  const source = parseIp(await connectedFrom(address, family));
  // Where no route fits the socket has none.
  if (source === undefined || source === "0.0.0.0" || source === "::") throw new Error("no way leads there");
  return source;
}

function connectedFrom(address: string, family: number): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const socket = createSocket(family === 6 ? "udp6" : "udp4");
  socket.once("error", reject);
  socket.connect(ANY_PORT, address, () => resolve(socket.address().address));
  return promise.finally(() => socket.close());
}

function isLoopback(address: Ip): boolean {
  return address.startsWith("127.") || address === "::1";
}

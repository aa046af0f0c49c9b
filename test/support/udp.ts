/**
 * Questions over UDP: a server that answers who asked it, as long as one likes, and who asks, from a port of one's choice.
 */
import type { ChildProcess } from "node:child_process";
import type { Netns } from "../../src/app/demo/netns.ts";
import type { PodmanHost } from "./podman.ts";

const SERVER = `
const [port, bytes, isOnce] = process.argv.slice(1).map(Number);
const at = process.argv[4] ?? "0.0.0.0";
const { createSocket } = require("node:dgram");
for (const [type, address] of [["udp4", at], ["udp6", "::"]]) {
  const socket = createSocket({ type, ipv6Only: type === "udp6" });
  socket.on("message", (message, from) =>
    socket.send(from.address.padEnd(bytes), from.port, from.address, () => isOnce && process.exit()));
  socket.bind(port, address, () => type === "udp4" && console.log("ready"));
}
`;
const CLIENT = `
const [host, port, own, ms] = process.argv.slice(1);
const socket = require("node:dgram").createSocket(host.includes(":") ? "udp6" : "udp4");
const end = (text) => { console.log(text); process.exit(); };
socket.on("error", (error) => end(error.code));
socket.on("message", (message, from) => end(String(message).trim() + " " + message.length));
socket.bind(Number(own), () => socket.connect(Number(port), host, () => socket.send("who?")));
setTimeout(() => end("no answer"), Number(ms));
`;
/** Long enough for an answer on a busy machine. */
const ANSWER_MS = 2_000;

interface ServeOptions {
  readonly bytes?: number;
  readonly once?: boolean;
  readonly at?: string;
}

type Place = Pick<Netns, "spawn">;

/** @param options `bytes` of each answer; `at`: the address to answer with, where the route would choose another */
export function serveUdp(place: Place, port: number, options: ServeOptions = {}): Promise<ChildProcess> {
  const { bytes = 0, once = false, at } = options;
  const args = ["-e", SERVER, String(port), String(bytes), once ? "1" : "0", ...(at === undefined ? [] : [at])];
  const server = place.spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  server.unref();
  return new Promise((resolve) =>
    server.stdout?.once("data", () => {
      server.stdout?.destroy(); // it says no more, and would keep the test's process
      resolve(server);
    }),
  );
}

/** In the network of a container of this machine; it ends with its first answer. */
export async function servePodmanUdp(podman: PodmanHost, container: string, port: number): Promise<void> {
  const format = "{{.NetworkSettings.SandboxKey}}";
  const path = (await podman.do("inspect", container, "--format", format)).trim();
  const spawn: Place["spawn"] = (file, args, options) =>
    podman.machine.spawn("nsenter", [`--net=${path}`, file, ...args], options);
  await serveUdp({ spawn }, port, { once: true });
}

/**
 * @param own the port to ask from; 0: any
 * @param ms how long to wait for an answer
 * @returns who the server takes the asker for, and how long the answer is; `no answer`, or `ECONNREFUSED`
 */
export async function askUdp(from: Netns, address: string, port: number, own = 0, ms = ANSWER_MS): Promise<string> {
  return (await from.mustRun(process.execPath, ["-e", CLIENT, address, String(port), String(own), String(ms)])).trim();
}

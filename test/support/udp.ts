/**
 * One question over UDP: a server in a container that answers who asked which of its addresses, and who asks it.
 */
import type { Netns } from "../../src/app/demo/netns.ts";
import { waitFor } from "../../src/app/demo/wait.ts";
import type { PodmanHost } from "./podman.ts";

const SERVER = `
const socket = require("node:dgram").createSocket("udp4");
socket.on("message", (message, { address, port }) =>
  socket.send(\`\${address} asked \${process.argv[1]}\`, port, address, () => socket.close()));
socket.bind(Number(process.argv[2]), () => console.log("ready"));
`;
const CLIENT = `
const socket = require("node:dgram").createSocket("udp4");
socket.on("message", (message) => { console.log(String(message)); socket.close(); });
socket.send("who?", Number(process.argv[2]), process.argv[1]);
setTimeout(() => process.exit(1), 3000).unref();
`;
const READY_MS = 10_000;

/** A server in the network of a container of this machine; it ends with its first answer. */
export async function serveUdp(podman: PodmanHost, container: string, port: number): Promise<void> {
  const format = "{{.NetworkSettings.SandboxKey}}";
  const path = (await podman.do("inspect", container, "--format", format)).trim();
  const ip = Object.values(await podman.addresses(container)).flat()[0] ?? "";
  const args = [`--net=${path}`, process.execPath, "-e", SERVER, ip, String(port)];
  const server = podman.machine.spawn("nsenter", args, { stdio: ["ignore", "pipe", "inherit"] });
  let isReady = false;
  server.stdout?.once("data", () => {
    isReady = true;
  });
  await waitFor("the UDP server to listen", READY_MS, async () => isReady || undefined);
}

/** @returns what the server answers */
export async function askUdp(from: Netns, address: string, port: number): Promise<string> {
  return (await from.mustRun(process.execPath, ["-e", CLIENT, address, String(port)])).trim();
}

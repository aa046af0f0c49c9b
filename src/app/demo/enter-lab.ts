/**
 * Starts the running program again inside user, network, mount and process namespaces of its own: whatever it does to
 * the network there, the machine's own is out of reach, and when it ends, however it ends, the kernel takes everything
 * back: processes, devices, rules, mounts, files. So nothing in a lab has to clean up.
 *
 * As root no user namespace is needed; without root, the program is root of its own (CAP_NET_ADMIN over what it makes,
 * and over nothing else). The outer process stays as a pipe: its end, even by SIGKILL, ends the inner one.
 */
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, readlinkSync } from "node:fs";

/** In the environment of the inner process: `root`, or `rootless` where it is root of a user namespace only. */
const INSIDE = "WEFT_INSIDE_LAB";
/** A file system of the lab's own hides the machine's /run: name spaces, sockets and state of the lab live here. */
export const LAB_DIR = "/run/weft";
/** As a shell reports an end by SIGTERM. */
const EXIT_TERMINATED = 143;

function unshareFlags(): string[] {
  const flags = ["--net", "--mount", "--pid", "--fork", "--kill-child"];
  return process.getuid?.() === 0 ? flags : ["--user", "--map-root-user", ...flags];
}

/** Why this machine and user cannot make a lab, or `undefined`. */
export function labProblem(): string | undefined {
  if (process.env[INSIDE] !== undefined) return undefined;
  const probe = spawnSync("unshare", [...unshareFlags(), "mount", "-t", "tmpfs", "tmpfs", "/run"], {
    encoding: "utf8",
  });
  if (probe.status === 0) return undefined;
  const detail = probe.error?.message ?? probe.stderr.trim();
  return process.getuid?.() === 0
    ? `this machine makes no namespaces (${detail})`
    : `this user may make no namespaces (${detail}); be root, or allow unprivileged user namespaces`;
}

/**
 * In the outer process this does not return: it runs the same command line inside and ends with its status. In the inner
 * one it returns with /run of its own and `lo` up. Call it before anything else.
 * @throws Error when `labProblem` says why
 */
export async function enterLab(): Promise<void> {
  if (process.env[INSIDE] === undefined) return runInside();
  mustRun("mount", ["-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"]);
  mustRun("ip", ["link", "set", "lo", "up"]);
  mkdirSync(LAB_DIR, { recursive: true });
  process.channel?.unref();
  process.once("disconnect", () => {
    if (!process.emit("SIGTERM")) process.exit(EXIT_TERMINATED);
  });
}

function runInside(): Promise<never> {
  const argv = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const child = spawn("unshare", [...unshareFlags(), ...argv], {
    env: { ...process.env, [INSIDE]: process.getuid?.() === 0 ? "root" : "rootless" },
    stdio: ["inherit", "inherit", "inherit", "ipc"],
  });
  child.on("error", (error) => {
    process.stderr.write(`unshare: ${error.message}\n`);
    process.exit(1);
  });
  child.on("exit", (status) => process.exit(status ?? 1));
  // `unshare` blocks signals: the end of the channel is the order to stop. Ctrl-C may have reached the inner one, too.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"])
    process.on(signal, () => {
      if (child.connected) child.disconnect();
    });
  return new Promise(() => {});
}

/** Whether the lab is a user namespace, which `nsenter` has to enter as well. */
export function isRootless(): boolean {
  return process.env[INSIDE] === "rootless";
}

/** The number of this process outside, as whoever looks at the lab from there must give it to `nsenter`. */
export function outsidePid(): number {
  // /proc stays the one of outside, so `self` there is the outer number.
  return Number(readlinkSync("/proc/self"));
}

function mustRun(command: string, args: readonly string[]): void {
  const { status, stderr, error } = spawnSync(command, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${error?.message ?? stderr.trim()}`);
}

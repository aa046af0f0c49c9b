/**
 * Network namespaces: opening one by its path, and doing something inside it.
 *
 * setns moves only the calling thread, but threads and child processes started meanwhile inherit where it is. So a
 * window is strictly synchronous, the thread pool is started before the first one, and the process ends when the way
 * back fails: no line of ours may ever run in the wrong namespace.
 */
import { constants, fstatSync, openSync, stat, statfsSync } from "node:fs";
import { assert, Fault } from "../../model/fault.ts";
import { closeFd, isNetns, SystemCallError, setNetns, unshareNetns } from "./ffi.ts";

const OWN_NETNS = "/proc/thread-self/ns/net";
/** linux/magic.h */
const NSFS_MAGIC = 0x6e736673;

/** A network namespace held open: it lives, and stays the same one, until `close`. */
export class Netns {
  #fd: number;

  /** @param fd open on a network namespace; becomes its own */
  constructor(fd: number) {
    this.#fd = fd;
  }

  get fd(): number {
    assert(this.#fd >= 0, "a namespace is used while it is open");
    return this.#fd;
  }

  /** `DEVICE:INODE`: none that lives has the same, but one that comes later may. */
  get inode(): string {
    const { dev, ino } = fstatSync(this.fd, { bigint: true });
    return `${dev}:${ino}`;
  }

  close(): void {
    if (this.#fd < 0) return;
    closeFd(this.#fd);
    this.#fd = -1;
  }
}

/**
 * Opens the network namespace at `path`.
 * @throws Fault bad-netns (with `errno`) when the path is absent or something else, no-rights when it may not be opened,
 * kernel-refused when that cannot be known now
 */
export function openNetns(path: string): Netns {
  const wrong = (what: string, errno: string) =>
    new Fault("bad-netns", `${path} ${what}; give the path of a network namespace, such as /proc/PID/ns/net`, {
      path,
      errno,
    });
  let fd: number;
  try {
    // Looked at before it is opened: opening a fifo or a device has effects.
    if (statfsSync(path).type !== NSFS_MAGIC) throw wrong("is no network namespace", "EINVAL");
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    if (error instanceof Fault) throw error;
    const { code = "EIO" } = error as NodeJS.ErrnoException;
    if (code === "EACCES" || code === "EPERM") throw noRights(`open ${path}`);
    if (code === "ENOENT" || code === "ENOTDIR") throw wrong("does not exist", code);
    // Whoever hears that a namespace is gone lets go of what is in it.
    throw new Fault("kernel-refused", `cannot open ${path} (${code}); look at the limits of this process`, {
      errno: code,
    });
  }
  if (!isNetns(fd)) {
    closeFd(fd);
    throw wrong("is a namespace, but not of the network", "EINVAL");
  }
  return new Netns(fd);
}

/**
 * Makes an empty network namespace; it is gone when its last user closes it.
 * @throws Fault no-rights without CAP_SYS_ADMIN
 */
export function createNetns(): Netns {
  return inWindow("make a network namespace", unshareNetns, () => new Netns(openSync(OWN_NETNS, constants.O_RDONLY)));
}

/**
 * Calls `body` inside the namespace; `undefined` is the one the process is in. `body` must not be asynchronous.
 * @throws Fault no-rights without CAP_SYS_ADMIN
 */
export function inNetns<T>(netns: Netns | undefined, body: () => T): T {
  if (netns === undefined) return body();
  const { fd } = netns;
  return inWindow("enter a network namespace", () => setNetns(fd), body);
}

/** The refusal of everything that needs more rights than the process has. `what` says what was tried. */
export function noRights(what: string): Fault {
  return new Fault(
    "no-rights",
    `this process may not ${what}; run it as root, or give it CAP_NET_ADMIN and CAP_SYS_ADMIN`,
  );
}

/**
 * Makes the system calls of `body`, of which one may need rights.
 * @throws Fault no-rights for EPERM
 */
export function withRights<T>(what: string, body: () => T): T {
  try {
    return body();
  } catch (error) {
    if (error instanceof SystemCallError && error.code === "EPERM") throw noRights(what);
    throw error;
  }
}

let threadPoolStarted = false;

/** libuv makes all threads of its pool at the first use: inside a window they would stay in the wrong namespace. */
function startThreadPool(): void {
  if (threadPoolStarted) return;
  stat("/", () => {});
  threadPoolStarted = true;
}

/** @param move takes this thread elsewhere; when it throws, the thread has not moved */
function inWindow<T>(what: string, move: () => void, body: () => T): T {
  startThreadPool();
  const home = openSync(OWN_NETNS, constants.O_RDONLY);
  try {
    withRights(what, move);
    try {
      return body();
    } finally {
      goHome(home);
    }
  } finally {
    closeFd(home);
  }
}

function goHome(home: number): void {
  try {
    setNetns(home);
  } catch {
    process.abort();
  }
}

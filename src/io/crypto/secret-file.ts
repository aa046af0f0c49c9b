/**
 * Files that hold a secret: made with mode 0600 from the first moment on, in a folder of mode 0700, whole or not at all,
 * and never over another one. One that others could read is refused: what it holds may be known by now.
 */
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { Fault, messageOf } from "../../model/fault.ts";
import { SECRET_FILE_MAX_BYTES } from "../../model/limits.ts";
import type { Signer } from "../../model/trust/member.ts";
import { newSignerPem, signerOf } from "./keys.ts";

const OTHERS = 0o077;

/**
 * @returns the file's text; `undefined` when there is none
 * @throws Fault no-rights when others may read or write it, or this process may not; storage; bad-request
 */
export function readSecretFile(path: string): string | undefined {
  let file: number;
  try {
    // Without O_NONBLOCK a pipe at this path would wait for its writer.
    file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException;
    if (code === "ENOENT") return undefined;
    if (code === "EACCES" || code === "EPERM")
      throw new Fault("no-rights", `${path} may not be read by this user; run as its owner`, { path });
    throw storageFault(path, thrown);
  }
  try {
    const found = fstatSync(file);
    if (!found.isFile()) throw new Fault("bad-request", `${path} is no file; name one that holds the secret`, { path });
    refuseOpen(path, found.mode);
    if (found.size > SECRET_FILE_MAX_BYTES)
      throw new Fault("bad-request", `${path} has ${found.size} bytes; it is no token and no key`, { path });
    return readFileSync(file, "utf8");
  } finally {
    closeSync(file);
  }
}

/**
 * Makes the file, and its folder where that is missing; durable when it returns.
 * @throws Fault storage, also when a file is there
 */
export function createSecretFile(path: string, text: string): void {
  const folder = dirname(path);
  const draft = join(folder, `.${basename(path)}.new`);
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    // Left by a process that died while it wrote; nothing ever reads it.
    rmSync(draft, { force: true });
    const file = openSync(
      draft,
      constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY | constants.O_NOFOLLOW,
      0o600,
    );
    try {
      writeSync(file, text);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    // Unlike a rename it does not replace what is there.
    linkSync(draft, path);
    rmSync(draft);
    syncFolder(folder);
  } catch (thrown) {
    throw storageFault(path, thrown);
  }
}

/**
 * The signing key in the file, which is made when there is none.
 * @throws Fault corrupt-store when it holds something else; as the two above
 */
export function signerInFile(path: string): Signer {
  const text = readSecretFile(path);
  if (text === undefined) {
    const pem = newSignerPem();
    createSecretFile(path, pem);
    return signerOf(pem) as Signer;
  }
  const signer = signerOf(text);
  if (signer !== undefined) return signer;
  throw new Fault("corrupt-store", `${path} holds no Ed25519 private key; restore it from a backup`, { path });
}

/** @throws Fault no-rights when others than the owner may read or write a file of this mode */
export function refuseOpen(path: string, mode: number): void {
  if ((mode & OTHERS) === 0) return;
  const shown = (mode & 0o777).toString(8).padStart(4, "0");
  throw new Fault(
    "no-rights",
    `${path} has mode ${shown}: others than its owner may use it, and it holds secrets; chmod 600 it, and if somebody ` +
      "may have read it, replace what is in it",
    { path },
  );
}

function syncFolder(folder: string): void {
  const file = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

function storageFault(path: string, thrown: unknown): Fault {
  return new Fault(
    "storage",
    `${path} cannot be read or written (${messageOf(thrown)}); check the disk's space and the permissions`,
    { path },
    { cause: thrown },
  );
}

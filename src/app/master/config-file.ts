/**
 * A configuration file from the disk: what is wrong with it begins with its name.
 */
import { closeSync, fstatSync, openSync, readFileSync } from "node:fs";
import { type ParsedConfig, parseClusterConfig } from "../../core/config/cluster-config.ts";
import { Fault } from "../../model/fault.ts";
import { CONFIG_FILE_MAX_BYTES } from "../../model/limits.ts";

/** @throws Fault bad-config: there is no such file, or it cannot be served */
export function readClusterConfig(path: string): ParsedConfig {
  const text = readText(path);
  try {
    return parseClusterConfig(text);
  } catch (thrown) {
    if (!(thrown instanceof Fault)) throw thrown;
    throw new Fault(thrown.code, `${path}: ${thrown.message}`, { ...thrown.facts, file: path });
  }
}

function readText(path: string): string {
  let file: number | undefined;
  try {
    file = openSync(path, "r");
    const { size } = fstatSync(file);
    if (size > CONFIG_FILE_MAX_BYTES)
      throw unreadable(path, `it has ${size} bytes, and at most ${CONFIG_FILE_MAX_BYTES} are read`);
    return readFileSync(file, "utf8");
  } catch (thrown) {
    throw thrown instanceof Fault ? thrown : unreadable(path, reasonOf(thrown as NodeJS.ErrnoException));
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

function reasonOf({ code, message }: NodeJS.ErrnoException): string {
  if (code === "ENOENT") return "there is no such file";
  if (code === "EISDIR") return "it is a directory";
  return code === "EACCES" ? "this user may not read it" : message;
}

function unreadable(path: string, reason: string): Fault {
  return new Fault("bad-config", `the configuration ${path} cannot be read: ${reason}; give another file`, {
    file: path,
  });
}

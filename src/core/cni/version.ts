/**
 * The versions of the CNI specification that Weft speaks, and which verbs each has.
 *
 * A version is an index into one list, so "at least 0.4.0" is a comparison of places. 0.1.0 and 0.2.0 are left out:
 * their result has another form, and every runtime of the last years speaks a later one.
 */

/** Oldest first. The executable answers VERSION by itself and holds the same list (a test compares them). */
export const CNI_VERSIONS = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] as const;
export type CniVersion = (typeof CNI_VERSIONS)[number];

/** What an answer is written in when the call names no version that we speak. */
export const NEWEST_CNI_VERSION: CniVersion = "1.1.0";

export const CNI_COMMANDS = ["ADD", "DEL", "CHECK", "STATUS", "GC", "VERSION"] as const;
export type CniCommand = (typeof CNI_COMMANDS)[number];

/** The first version that has the verb. */
const SINCE: Readonly<Record<CniCommand, CniVersion>> = {
  ADD: "0.3.0",
  DEL: "0.3.0",
  VERSION: "0.3.0",
  CHECK: "0.4.0",
  STATUS: "1.1.0",
  GC: "1.1.0",
};

export function isCniVersion(text: unknown): text is CniVersion {
  return CNI_VERSIONS.some((version) => version === text);
}

export function isCniCommand(text: unknown): text is CniCommand {
  return CNI_COMMANDS.some((command) => command === text);
}

/** Whether `version` is `least` or newer. */
export function atLeast(version: CniVersion, least: CniVersion): boolean {
  return CNI_VERSIONS.indexOf(version) >= CNI_VERSIONS.indexOf(least);
}

export function firstVersionOf(command: CniCommand): CniVersion {
  return SINCE[command];
}

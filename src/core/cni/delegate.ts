/**
 * Asking another CNI plugin: the environment it is started with, and what its refusal means (CNI 1.1.0, section 4).
 */
import { Fault } from "../../model/fault.ts";
import type { CniCommand } from "./version.ts";

/** Whom the other plugin is asked about. */
export interface DelegateSubject {
  readonly containerId: string;
  readonly ifname: string;
  /** Empty when it is gone, as DEL may find it. */
  readonly netns: string;
}

/** How it is asked: where plugins are, and CNI_ARGS as they came. */
export interface DelegateTerms {
  readonly cniPath: readonly string[];
  readonly args: string;
}

/** Where plugins look for `iptables` and the like; the agent's own PATH may be short. */
const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** @param subject absent for the verbs that ask about no container: STATUS, GC */
export function delegateEnvironment(
  command: Exclude<CniCommand, "VERSION">,
  subject: DelegateSubject | undefined,
  { cniPath, args }: DelegateTerms,
): Record<string, string> {
  const { containerId, ifname, netns } = subject ?? {};
  return {
    CNI_COMMAND: command,
    ...(containerId === undefined ? {} : { CNI_CONTAINERID: containerId }),
    ...(ifname === undefined ? {} : { CNI_IFNAME: ifname }),
    ...(netns === undefined ? {} : { CNI_NETNS: netns }),
    CNI_ARGS: args,
    CNI_PATH: cniPath.join(":"),
    PATH,
  };
}

/** CNI 1.1.0, "Error": the version of the configuration, and the verb, are unknown to the plugin. */
const INCOMPATIBLE_VERSION = 1;
const INVALID_ENVIRONMENT = 4;

/** Whether the plugin is older than STATUS and GC: it has nothing to say to them, which is no refusal. */
export function isTooOld(stdout: string): boolean {
  const { code } = errorIn(stdout);
  return code === INCOMPATIBLE_VERSION || code === INVALID_ENVIRONMENT;
}

/** CNI 1.1.0, "Error": the one code that tells a runtime to send the call again later. */
const TRY_AGAIN_LATER = 11;

/** The refusal that `plugin` printed; what is no CNI error is shown as it is. */
export function delegateFault(plugin: string, stdout: string): Fault {
  const { code, msg, details } = errorIn(stdout);
  const said = [msg, details].filter((text) => text !== undefined && text !== "").join(": ");
  return new Fault(
    code === TRY_AGAIN_LATER ? "not-ready" : "delegate-failed",
    `the plugin ${plugin} refused: ${said || "it said nothing"}`,
    { plugin, ...(code === undefined ? {} : { code }) },
  );
}

interface PluginError {
  readonly code?: number;
  readonly msg?: string;
  readonly details?: string;
}

function errorIn(stdout: string): PluginError {
  const shown = stdout.trim().slice(0, 400);
  try {
    const { code, msg, details } = JSON.parse(stdout) as Record<string, unknown>;
    return {
      ...(typeof code === "number" ? { code } : {}),
      msg: typeof msg === "string" ? msg : shown,
      ...(typeof details === "string" ? { details } : {}),
    };
  } catch {
    return { msg: shown };
  }
}

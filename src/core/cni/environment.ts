/**
 * The parameters of a CNI call that come by environment variables (CNI 1.1.0, "Parameters"). The executable hands them
 * to the agent in the frame of model/call-frame.ts.
 *
 * Every value ends up in a path, a device or a rule, so each is checked against the strictest of its users.
 */
import type { CallVariables } from "../../model/call-frame.ts";
import { type Problems, shown } from "../../model/foreign-json.ts";
import { CNI_PATH_FOLDERS_MAX, RUNTIME_NAME_MAX_BYTES } from "../../model/limits.ts";
import { containerIdProblem, ifnameProblem, netnsPathProblem } from "../../model/names.ts";
import { CNI_PLUGIN, IPAM_PLUGIN, type PluginName } from "./conflist.ts";

export type CniEnvironment = CallVariables;

/** Which variable has to be right for a verb, and by which rule. */
export type CniParameter = "CNI_CONTAINERID" | "CNI_IFNAME" | "CNI_NETNS";

const RULES: Readonly<Record<CniParameter, (value: string) => string | undefined>> = {
  CNI_CONTAINERID: containerIdProblem,
  CNI_IFNAME: ifnameProblem,
  CNI_NETNS: netnsPathProblem,
};

/** The values of `required`, in their order. What is missing or wrong is appended to `problems`. */
export function readParameters(
  environment: CniEnvironment,
  required: readonly CniParameter[],
  problems: Problems,
): readonly string[] {
  const values = required.map((name) => environment.get(name) ?? "");
  for (const [i, name] of required.entries()) {
    const value = values[i] ?? "";
    const problem = value === "" ? undefined : RULES[name](value);
    if (value === "") problems.push(`${name} is missing`);
    else if (problem !== undefined) problems.push(`${name}=${shown(value)} ${problem}`);
  }
  return values;
}

/** The folders of plugins, in their order. Nothing is refused: only who starts another plugin needs one. */
export function readCniPath(environment: CniEnvironment): readonly string[] {
  const folders = (environment.get("CNI_PATH") ?? "").split(":").filter((folder) => folder.startsWith("/"));
  return [...new Set(folders)].slice(0, CNI_PATH_FOLDERS_MAX);
}

/** As which plugin the executable was started; it writes down the name it was called by. */
export function readPlugin(environment: CniEnvironment): PluginName {
  return environment.get("CNI_WEFT_PLUGIN") === IPAM_PLUGIN ? IPAM_PLUGIN : CNI_PLUGIN;
}

/** The program that started the executable, as the kernel names it. What cannot be shown is replaced. */
export function readRuntime(environment: CniEnvironment): string {
  const name = environment.get("CNI_WEFT_RUNTIME") ?? "";
  return name.replace(/[^ -~]/g, "?").slice(0, RUNTIME_NAME_MAX_BYTES);
}

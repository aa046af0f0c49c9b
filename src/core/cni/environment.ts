/**
 * The parameters of a CNI call that come by environment variables (CNI 1.1.0, "Parameters"), and the frame in which
 * the executable hands a call to the agent: lines `CNI_X=…` each ended by NUL, one more NUL, then the bytes of stdin.
 *
 * Every value ends up in a path, a device or a rule, so each is checked against the strictest of its users.
 */
import { Fault } from "../../model/fault.ts";
import {
  CNI_CALL_MAX_BYTES,
  CNI_CONTAINER_ID_MAX_BYTES,
  CNI_PATH_FOLDERS_MAX,
  IFNAME_MAX_BYTES,
  PATH_MAX_BYTES,
  RUNTIME_NAME_MAX_BYTES,
} from "../../model/limits.ts";
import { CNI_PLUGIN, IPAM_PLUGIN, type PluginName } from "./conflist.ts";
import { type Problems, shown } from "./json.ts";

export type CniEnvironment = ReadonlyMap<string, string>;

/**
 * Takes the frame apart. Of two lines for one variable the first counts, as with getenv.
 * @throws Fault bad-request when it is too long or has no end of the environment
 */
export function splitCall(body: Uint8Array): { readonly environment: CniEnvironment; readonly stdin: Uint8Array } {
  if (body.length > CNI_CALL_MAX_BYTES)
    throw new Fault("bad-request", `the CNI call has ${body.length} bytes; at most ${CNI_CALL_MAX_BYTES} are read`);
  const environment = new Map<string, string>();
  const text = new TextDecoder();
  for (let from = 0; ; ) {
    const end = body.indexOf(0, from);
    if (end < 0)
      throw new Fault(
        "bad-request",
        "the body is no CNI call: after lines CNI_X=… each ended by NUL one more must come",
      );
    if (end === from) return { environment, stdin: body.subarray(end + 1) };
    const line = text.decode(body.subarray(from, end));
    const equals = line.indexOf("=");
    const name = line.slice(0, equals);
    if (equals > 0 && !environment.has(name)) environment.set(name, line.slice(equals + 1));
    from = end + 1;
  }
}

/** What is wrong with a container's id, or `undefined`. */
function containerIdProblem(id: string): string | undefined {
  if (Buffer.byteLength(id) > CNI_CONTAINER_ID_MAX_BYTES)
    return `has ${Buffer.byteLength(id)} bytes, at most ${CNI_CONTAINER_ID_MAX_BYTES} are taken`;
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(id))
    return "may hold only letters, digits, '_', '.' and '-', and begins with a letter or digit";
  return undefined;
}

/**
 * What is wrong with an interface's name, or `undefined`. Beyond the kernel's own rule: `%` would be filled in by the
 * kernel, and `all` and `default` are folders of sysctls for every device.
 */
function ifnameProblem(name: string): string | undefined {
  if (Buffer.byteLength(name) > IFNAME_MAX_BYTES)
    return `has ${Buffer.byteLength(name)} bytes, a device's name has at most ${IFNAME_MAX_BYTES}`;
  if (!/^[!-~]+$/.test(name) || /[/:%]/.test(name))
    return "may hold only visible ASCII characters without '/', ':' and '%'";
  if ([".", "..", "all", "default"].includes(name)) return "is no name for a device";
  return undefined;
}

/** What is wrong with the path of a network namespace as text, or `undefined`; whether it is one, the kernel tells. */
function netnsPathProblem(path: string): string | undefined {
  if (!path.startsWith("/")) return "is no absolute path";
  if (Buffer.byteLength(path) >= PATH_MAX_BYTES)
    return `has ${Buffer.byteLength(path)} bytes, a path has fewer than ${PATH_MAX_BYTES}`;
  return undefined;
}

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

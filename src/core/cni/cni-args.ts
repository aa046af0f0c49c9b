/**
 * CNI_ARGS: `KEY=VALUE` pairs with semicolons between them, the oldest way to tell a plugin something. `IP`, `MAC` and
 * `IgnoreUnknown` have a meaning of their own; whatever else is in it is a label of the container.
 */
import { type Problems, shown } from "../../model/foreign-json.ts";

export type CniArgs = ReadonlyMap<string, string>;

/** Of two values for one key the later counts. What is no pair is appended to `problems`. */
export function readCniArgs(text: string, problems: Problems): CniArgs {
  const args = new Map<string, string>();
  for (const pair of text.split(";").filter((part) => part !== "")) {
    const equals = pair.indexOf("=");
    if (equals > 0) args.set(pair.slice(0, equals), pair.slice(equals + 1));
    else problems.push(`CNI_ARGS: ${shown(JSON.stringify(pair))} is no KEY=VALUE`);
  }
  return args;
}

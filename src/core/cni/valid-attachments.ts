/**
 * The list that comes with GC: every attachment that the runtime still knows. What is not on it may be released, so a
 * list that is wrong anywhere is refused as a whole.
 */
import { isObject, type JsonObject, kindOf, type Problems, readList } from "../../model/foreign-json.ts";

export interface ValidAttachment {
  readonly containerId: string;
  readonly ifname: string;
}

/** CNI 1.1.0; the other is what its text said at first, and what runtimes of that time write. */
const KEY = "cni.dev/valid-attachments";
const EARLY_KEY = "cni.dev/attachments";

/** `undefined` when the call has no list, and nobody may conclude anything from it. */
export function readValidAttachments(json: JsonObject, problems: Problems): readonly ValidAttachment[] | undefined {
  const key = [KEY, EARLY_KEY].find((candidate) => json[candidate] !== undefined);
  if (key === undefined) return undefined;
  return readList(json[key], key, problems).flatMap((item, i) => {
    const { containerID: containerId, ifname } = isObject(item) ? item : {};
    if (typeof containerId === "string" && typeof ifname === "string") return [{ containerId, ifname }];
    problems.push(`${key}[${i}]: must be an object with the strings containerID and ifname, is ${kindOf(item)}`);
    return [];
  });
}

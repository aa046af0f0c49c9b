/**
 * What a runtime says of the task that a container is: a name, and labels. Weft keeps both with the lease. Addresses are
 * reserved by the name, policies select by labels.
 *
 * The name is the label `weft.name`, which runtimes without names can give; else the one that people know it by:
 * K8S_POD_NAME (Kubernetes, and podman for the container's name), else
 * NOMAD_GROUP_NAME, else the first alias that is not the container's short id. Labels are everything in CNI_ARGS that
 * asks for nothing, Mesos' labels and those of `args.cni`; of one key the last of these counts.
 */

import { type Problems, readObject, readObjects, readString, requireString, shown } from "../../model/foreign-json.ts";
import { LABEL_KEY_MAX_BYTES, LABEL_VALUE_MAX_BYTES, LABELS_MAX, TASK_NAME_MAX_BYTES } from "../../model/limits.ts";
import type { Task } from "../../model/wishes.ts";
import { MESOS_PATH, type WishSources } from "./wishes.ts";

/** Keys of CNI_ARGS that are read elsewhere. */
const NO_LABELS: readonly string[] = ["IgnoreUnknown", "IP", "MAC"];

/** What is wrong is appended to `problems`. */
export function readTask(
  sources: WishSources,
  container: { readonly containerId: string; readonly aliases: readonly string[] },
  problems: Problems,
): Task {
  const { cniArgs, mesos, args } = sources;
  const labels = new Map([...cniArgs].filter(([key]) => !NO_LABELS.includes(key)));
  for (const [key, value] of labels) noteLabelProblem(key, value, `CNI_ARGS: ${shown(key)}`, problems);
  const wrapper = readObject(mesos.labels, `${MESOS_PATH}.labels`, problems);
  for (const [key, value] of readPairs(wrapper.labels, `${MESOS_PATH}.labels.labels`, problems)) labels.set(key, value);
  for (const [key, value] of readPairs(args.labels, "args.cni.labels", problems)) labels.set(key, value);
  if (labels.size > LABELS_MAX)
    problems.push(`the call has ${labels.size} labels, one container may have ${LABELS_MAX}`);
  const name = labels.get(NAME_LABEL) || nameOf(sources, container);
  if (name !== undefined && Buffer.byteLength(name) > TASK_NAME_MAX_BYTES)
    problems.push(
      `CNI_ARGS: the container's name has ${Buffer.byteLength(name)} bytes, at most ${TASK_NAME_MAX_BYTES} are taken`,
    );
  return { ...(name === undefined ? {} : { name }), labels: Object.fromEntries(labels) };
}

const NAME_LABEL = "weft.name";

function nameOf(
  { cniArgs }: WishSources,
  { containerId, aliases }: { readonly containerId: string; readonly aliases: readonly string[] },
): string | undefined {
  const isShortId = (alias: string) => /^[0-9a-f]{12}$/.test(alias) && containerId.startsWith(alias);
  return cniArgs.get("K8S_POD_NAME") || cniArgs.get("NOMAD_GROUP_NAME") || aliases.find((alias) => !isShortId(alias));
}

/** `[{"key": …, "value": …}]`. A label without a value has the empty one. */
function readPairs(value: unknown, at: string, problems: Problems): (readonly [string, string])[] {
  return readObjects(value, at, problems).flatMap(([json, path]) => {
    const key = requireString(json.key, `${path}.key`, problems);
    const text = readString(json.value, `${path}.value`, problems) ?? "";
    noteLabelProblem(key, text, path, problems);
    return [[key, text] as const];
  });
}

function noteLabelProblem(key: string, value: string, at: string, problems: Problems): void {
  if (Buffer.byteLength(key) > LABEL_KEY_MAX_BYTES)
    problems.push(`${at}: the key has ${Buffer.byteLength(key)} bytes, at most ${LABEL_KEY_MAX_BYTES} are taken`);
  if (Buffer.byteLength(value) > LABEL_VALUE_MAX_BYTES)
    problems.push(`${at}: the value has ${Buffer.byteLength(value)} bytes, at most ${LABEL_VALUE_MAX_BYTES} are taken`);
  if (/\p{Cc}/u.test(key + value)) problems.push(`${at}: has a control character`);
}

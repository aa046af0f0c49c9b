/**
 * What changed of an agent's record, in the words of the event log: `agent 5b… (host1, 10.0.0.11) gets 9.0.4.0/24 of dcos`.
 * Names every slice that came, is to come back, stays after all or went, so that the log alone tells who had what when.
 */
import { canonicalJson } from "../../model/canonical-json.ts";
import { type AgentOverlay, type AgentRecord, slicesOf } from "../../model/cluster.ts";
import { prefixesOf } from "../../model/network.ts";

export function recordChangeText(before: AgentRecord | undefined, after: AgentRecord): string {
  return `agent ${after.id} (${after.hostname}, ${after.ip}) ${changeText(before, after)}`;
}

function changeText(before: AgentRecord | undefined, after: AgentRecord): string {
  if (before === undefined) return "added";
  const had = new Map(before.overlays.map((overlay) => [overlay.info.name, overlay]));
  const has = new Map(after.overlays.map((overlay) => [overlay.info.name, overlay]));
  const changes = [
    ...(before.id === after.id ? [] : [`takes over from ${before.id}`]),
    ...(before.ip === after.ip ? [] : [`was at ${before.ip}`]),
    ...(before.hostname === after.hostname ? [] : [`was called ${before.hostname}`]),
    ...[...has].flatMap(([name, overlay]) => sliceChanges(name, had.get(name), overlay)),
    ...[...had].flatMap(([name, overlay]) => (has.has(name) ? [] : sliceChanges(name, overlay, undefined))),
  ];
  if (changes.length > 0) return changes.join(", ");
  // Its key, its token, or the epoch and revision of what is signed: entries of their own.
  return canonicalJson(before) === canonicalJson(after) ? "gets a newly signed assignment" : "changed";
}

function sliceChanges(name: string, before: AgentOverlay | undefined, after: AgentOverlay | undefined): string[] {
  const [had, has] = [slicesBy(before), slicesBy(after)];
  const came = [...has].filter(([slice]) => !had.has(slice)).map(([slice]) => `gets ${slice} of ${name}`);
  const went = [...had].filter(([slice]) => !has.has(slice)).map(([slice]) => `gave back ${slice} of ${name}`);
  const turned = [...has].flatMap(([slice, isDraining]) => {
    if (!had.has(slice) || had.get(slice) === isDraining) return [];
    return [isDraining ? `is to give back ${slice} of ${name}` : `keeps ${slice} of ${name}`];
  });
  return [...came, ...turned, ...went];
}

/** By their prefixes as text: whether each is to come back. */
function slicesBy(overlay: AgentOverlay | undefined): ReadonlyMap<string, boolean> {
  const slices = overlay === undefined ? [] : slicesOf(overlay);
  return new Map(slices.map((slice) => [prefixesOf(slice).join(" and "), slice.draining === true]));
}

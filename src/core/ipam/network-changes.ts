/**
 * What another network configuration changes, in words: for the plan that an operator reads before it is applied, and for
 * the event that stays of it.
 */
import { canonicalJson } from "../../model/canonical-json.ts";
import type { NetworkSource, OverlaySource } from "../../model/network-source.ts";

/** One line for each change: `network web: added (10.0.0.0/8 in /24)`; none when they mean the same. */
export function networkChanges(before: NetworkSource, after: NetworkSource): string[] {
  const { overlays: had, ...settingsBefore } = before;
  const { overlays: has, ...settingsAfter } = after;
  const overlayLines = has.flatMap((overlay) => {
    const known = had.find(({ name }) => name === overlay.name);
    const what = known === undefined ? [`added (${spaceText(overlay)})`] : differences(known, overlay);
    return what.map((line) => `network ${overlay.name}: ${line}`);
  });
  const gone = had.filter(({ name }) => !has.some((overlay) => overlay.name === name));
  return [
    ...differences(settingsBefore, settingsAfter),
    ...overlayLines,
    ...gone.map(({ name }) => `network ${name}: removed`),
  ];
}

/** `key: was becomes is`, for each field in which the two differ. */
export function differences(before: object, after: object): string[] {
  const [old, now] = [Object.entries(before), Object.entries(after)];
  const keys = new Set([...old, ...now].map(([key]) => key));
  return [...keys].flatMap((key) => {
    const [was, is] = [(before as Fields)[key], (after as Fields)[key]];
    if (canonicalJson(was ?? null) === canonicalJson(is ?? null)) return [];
    if (key === "phase") return [is === undefined ? "takes new containers again" : "drains"];
    return [`${key}: ${text(was)} becomes ${text(is)}`];
  });
}

type Fields = Readonly<Record<string, unknown>>;

function text(value: unknown): string {
  if (value === undefined) return "nothing";
  return typeof value === "string" ? value : JSON.stringify(value);
}

function spaceText({ subnet, prefix, subnet6, prefix6 }: OverlaySource): string {
  const spaces = [
    ...(subnet === undefined ? [] : [`${subnet} in /${prefix}`]),
    ...(subnet6 === undefined ? [] : [`${subnet6} in /${prefix6}`]),
  ];
  return spaces.join(", ");
}

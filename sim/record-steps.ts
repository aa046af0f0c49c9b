/**
 * Steps of a scenario in which a member writes or deletes records. What the owner is told that it cannot publish is not
 * wanted either.
 */
import { Fault } from "../src/model/fault.ts";
import { isHostRecord } from "./hosts/station.ts";
import type { Fate } from "./invariants.ts";
import type { Step } from "./scenario.ts";

export type RecordStep = Extract<Step, { do: "publish" | "publish-many" | "delete" | "delete-all" }>;

/** @returns whether the member could publish it */
export function doRecordStep(step: RecordStep, { member, wanted }: Fate, fraction: () => number): boolean {
  if (!member.isUp) return true;
  const changes = changesOf(step, wanted, fraction);
  try {
    member.publish(changes);
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    return false;
  }
  for (const [key, value] of changes)
    if (value === undefined) wanted.delete(key);
    else wanted.set(key, value);
  return true;
}

function changesOf(
  step: RecordStep,
  wanted: ReadonlyMap<string, Uint8Array>,
  fraction: () => number,
): Map<string, Uint8Array | undefined> {
  switch (step.do) {
    case "publish":
      return new Map([[step.key, someValue(step.bytes, fraction)]]);
    case "delete":
      return new Map([[step.key, undefined]]);
    case "delete-all":
      return new Map([...wanted.keys()].filter((key) => !isHostRecord(key)).map((key) => [key, undefined]));
    case "publish-many":
      return new Map(Array.from({ length: step.keys }, (_, n) => [`many-${n}`, someValue(20, fraction)]));
  }
}

function someValue(bytes: number, fraction: () => number): Uint8Array {
  const value = new Uint8Array(bytes);
  for (let n = 0; n < Math.min(bytes, 8); n += 1) value[n] = Math.floor(fraction() * 256);
  return value;
}

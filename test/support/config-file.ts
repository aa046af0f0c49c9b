/**
 * Configuration files for tests: the default one with something changed, and what the validator says of it.
 */
import assert from "node:assert/strict";
import { stringify } from "yaml";
import { parseClusterConfig } from "../../src/core/config/cluster-config.ts";
import { DEFAULT_NETWORK } from "../../src/core/config/default-network.ts";
import { Fault } from "../../src/model/fault.ts";

export type Json = Record<string, unknown>;
export const [DCOS, DCOS6] = DEFAULT_NETWORK.overlays.map((overlay) => ({ ...overlay }) as Json) as [Json, Json];

/** The default network with `change` laid over it; a key with the value undefined is left out. */
export const network = (change: Json): Json => {
  const merged: Json = { ...DEFAULT_NETWORK, ...change };
  return Object.fromEntries(Object.entries(merged).filter(([, value]) => value !== undefined));
};
export const overlays = (...list: Json[]): Json => network({ overlays: list });
export const fileOf = (section: unknown, rest: Json = {}): string =>
  stringify({ dcos_overlay_network: section, ...rest });

/** The problems of a file; empty when it is accepted. Anything but the fault fails the test. */
export function problemsOf(text: string): readonly string[] {
  try {
    parseClusterConfig(text);
    return [];
  } catch (thrown) {
    assert.ok(thrown instanceof Fault, `threw ${String(thrown)}`);
    assert.equal(thrown.code, "bad-config");
    return thrown.facts.problems as readonly string[];
  }
}

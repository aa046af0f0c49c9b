/**
 * What the kernel holds in a network namespace that it did not hold before, object by object: devices, addresses, routes,
 * neighbours, and of our tables each chain and each element of a map. For benchmarks that count what is left.
 */
import type { HostState } from "../src/core/host/host-state.ts";

/** What is in `after` and was not in `before`, each with its kind as its first word. */
export function surplus(before: HostState, after: HostState): readonly string[] {
  const known = new Set(objects(before));
  return objects(after).filter((object) => !known.has(object));
}

function objects({ tables, ...lists }: HostState): readonly string[] {
  const others = Object.entries(lists).flatMap(([list, values]) =>
    (values as readonly unknown[]).map((value) => `${list} ${JSON.stringify(value)}`),
  );
  const rules = tables.flatMap(({ family, chains, maps }) => [
    ...chains.map((chain) => `chains ${family} ${JSON.stringify(chain)}`),
    ...maps.flatMap(({ name, elements }) => elements.map((element) => `elements ${family} ${name} ${element}`)),
  ]);
  return [...others, ...rules];
}

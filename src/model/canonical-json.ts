/**
 * JSON with the keys of each object in order: equal values have equal text, whoever wrote them and in whichever order.
 * What is stored by one version of Weft is compared with what another one calculates.
 */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    typeof part === "object" && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}

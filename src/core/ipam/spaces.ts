/**
 * The address spaces of a network, changed one by one: a space is added, drained, taken back into use, and removed. That
 * is how a subnet is replaced while the network keeps its name and its containers.
 */
import { Fault } from "../../model/fault.ts";
import { parseCidr } from "../../model/ip.ts";
import { prefixesOf } from "../../model/network.ts";
import { type OverlaySource, type SpaceSource, spaceSourcesOf } from "../../model/network-source.ts";

/** One step; a space goes by either of its prefixes. */
export type SpaceEdit =
  | { readonly op: "add"; readonly space: SpaceSource }
  | { readonly op: "drain" | "resume" | "remove"; readonly subnet: string };

/**
 * Carries out the steps in their order. What the outcome must be is the validator's affair.
 * @throws Fault bad-request when a step names no space of the network, or removes the last one
 */
export function withSpaces(overlay: OverlaySource, edits: readonly SpaceEdit[]): OverlaySource {
  const [first, ...further] = edits.reduce((spaces, edit) => edited(overlay, spaces, edit), spaceSourcesOf(overlay));
  if (first === undefined)
    throw new Fault(
      "bad-request",
      `network ${overlay.name} would have no address space left; add another one first, or 'weft network rm' it`,
    );
  const { subnet: _, prefix: __, subnet6: ___, prefix6: ____, draining: _____, more: ______, ...rest } = overlay;
  return { ...rest, ...first, ...(further.length > 0 && { more: further }) };
}

function edited(overlay: OverlaySource, spaces: readonly SpaceSource[], edit: SpaceEdit): SpaceSource[] {
  if (edit.op === "add") return [...spaces, edit.space];
  const found = spaces.find((space) => prefixesOf(space).some((prefix) => isSame(prefix, edit.subnet)));
  if (found === undefined)
    throw new Fault(
      "bad-request",
      `network ${overlay.name} has no address space ${edit.subnet}; it has ${spaces.flatMap(prefixesOf).join(", ")}`,
      { network: overlay.name, subnet: edit.subnet },
    );
  if (edit.op === "remove") return spaces.filter((space) => space !== found);
  const { draining: _, ...plain } = found;
  return spaces.map((space) =>
    space === found ? { ...plain, ...(edit.op === "drain" && { draining: true }) } : space,
  );
}

/** Either may be written as an operator likes. */
function isSame(a: string, b: string): boolean {
  const parsed = parseCidr(a);
  return a === b || (parsed !== undefined && parsed === parseCidr(b));
}

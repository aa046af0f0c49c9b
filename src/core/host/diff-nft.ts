/**
 * nftables, no coarser than need be: a chain whose rules differ is replaced alone, a map gets and loses elements. Only
 * a table that is missing, or one of whose maps has another type, is replaced whole.
 *
 * Order: a chain is there before another chain or a map of verdicts jumps to it, and is deleted when none does any more;
 * so is a map that a chain asks. What says who may talk to whom (chains, maps of verdicts) is all in `after`, which the
 * kernel carries out as one transaction: nobody is let through by half a change.
 */
import { formatChain } from "./format.ts";
import type { HostState, KernelOp, NftChain, NftMap, NftTable } from "./host-state.ts";

export interface NftChanges {
  /** Before devices go: elements that lead to them, chains that hang on them, tables that nobody wants. */
  readonly before: readonly KernelOp[];
  /** What checks a new device, by its name: before it is up, so that nothing comes by it unchecked. */
  readonly guards: ReadonlyMap<string, KernelOp>;
  /** After all else is in place. */
  readonly after: readonly KernelOp[];
}

/**
 * @param gone devices that are deleted or made anew: a rule that forwards to one names the old device for ever
 * @param added devices that are made
 */
export function diffNft(
  observed: HostState["tables"],
  desired: HostState["tables"],
  gone: ReadonlySet<string>,
  added: ReadonlySet<string>,
): NftChanges {
  const before: KernelOp[] = [];
  const guards = new Map<string, KernelOp>();
  const after: KernelOp[] = [];
  const present = new Map(observed.map((table) => [tableKey(table), table]));
  const wanted = new Set(desired.map(tableKey));
  for (const table of observed)
    if (!wanted.has(tableKey(table))) before.push({ op: "nft.table.delete", family: table.family, name: table.name });
  for (const want of desired) {
    const there = present.get(tableKey(want));
    if (there === undefined || hasOtherTypes(there, want)) {
      after.push({ op: "nft.table.replace", table: want });
      continue;
    }
    const chains = diffChains(there, want, gone, added);
    const elements = diffElements(there, want);
    const maps = diffMaps(there, want);
    before.push(...elements.deletes, ...chains.baseDeletes);
    for (const [device, guard] of chains.guards) guards.set(device, guard);
    after.push(...maps.adds, ...chains.replaces, ...elements.verdictDeletes, ...elements.adds);
    after.push(...chains.deletes, ...maps.deletes);
  }
  return { before, guards, after };
}

function diffChains(there: NftTable, want: NftTable, gone: ReadonlySet<string>, added: ReadonlySet<string>) {
  const at = { family: want.family, table: want.name };
  const present = new Map(there.chains.map((chain) => [chain.name, chain]));
  const wanted = new Set(want.chains.map((chain) => chain.name));
  const changed = want.chains.filter((chain) => {
    const old = present.get(chain.name);
    return old === undefined || isStale(old, gone) || formatChain(old) !== formatChain(chain);
  });
  // One that jumps to a chain which is written as well has to wait for it.
  const written = new Set(changed.map(({ name }) => name));
  const isGuard = ({ hook, rules }: NftChain): boolean =>
    hook?.device !== undefined &&
    added.has(hook.device) &&
    !rules.flat().some((part) => part.kind === "jump" && written.has(part.chain));
  const replace = (chain: NftChain): KernelOp => ({ op: "nft.chain.replace", ...at, chain });
  const unwanted = there.chains.filter((chain) => !wanted.has(chain.name));
  const remove = (chain: NftChain): KernelOp => ({ op: "nft.chain.delete", ...at, chain: chain.name });
  return {
    baseDeletes: unwanted.filter((chain) => chain.hook !== undefined && !hangsOn(gone, chain)).map(remove),
    guards: changed.filter(isGuard).map((chain) => [chain.hook?.device ?? "", replace(chain)] as const),
    replaces: targetsFirst(changed.filter((chain) => !isGuard(chain))).map(replace),
    // As long as a device is there, so is what checks it; some kernels delete it with the device.
    deletes: [
      ...unwanted.filter((chain) => hangsOn(gone, chain)),
      ...targetsFirst(unwanted.filter((chain) => chain.hook === undefined)).reverse(),
    ].map(remove),
  };
}

function hangsOn(gone: ReadonlySet<string>, { hook }: NftChain): boolean {
  return hook?.device !== undefined && gone.has(hook.device);
}

function isStale(chain: NftChain, gone: ReadonlySet<string>): boolean {
  return chain.rules.some((rule) =>
    rule.some((part) => part.kind === "unknown" || (part.kind === "forward" && gone.has(part.device))),
  );
}

/** Chains so that each comes after those it jumps to. */
function targetsFirst(chains: readonly NftChain[]): NftChain[] {
  const left = new Map(chains.map((chain) => [chain.name, chain]));
  const ordered: NftChain[] = [];
  const visit = (chain: NftChain): void => {
    left.delete(chain.name);
    for (const part of chain.rules.flat()) {
      const target = part.kind === "jump" ? left.get(part.chain) : undefined;
      if (target !== undefined) visit(target);
    }
    ordered.push(chain);
  };
  for (const chain of chains) if (left.has(chain.name)) visit(chain);
  return ordered;
}

function diffMaps(there: NftTable, want: NftTable): { adds: KernelOp[]; deletes: KernelOp[] } {
  const at = { family: want.family, table: want.name };
  const present = new Set(there.maps.map(({ name }) => name));
  const wanted = new Set(want.maps.map(({ name }) => name));
  return {
    adds: want.maps
      .filter(({ name }) => !present.has(name))
      .map(({ name, type }): KernelOp => ({ op: "nft.map.add", ...at, map: name, type })),
    deletes: there.maps
      .filter(({ name }) => !wanted.has(name))
      .map(({ name }): KernelOp => ({ op: "nft.map.delete", ...at, map: name })),
  };
}

/** Elements of maps that nobody wants any more but that lead to chains go too, or the chains could not. */
function diffElements(there: NftTable, want: NftTable) {
  const deletes: KernelOp[] = [];
  const verdictDeletes: KernelOp[] = [];
  const adds: KernelOp[] = [];
  const present = new Map(there.maps.map((map) => [map.name, new Map(map.elements)]));
  const wanted = new Set(want.maps.map(({ name }) => name));
  const dropped = there.maps.filter(({ name, type }) => !wanted.has(name) && isOfVerdicts(type));
  for (const { name, type, elements } of [...want.maps, ...dropped.map((map) => ({ ...map, elements: [] }))]) {
    const at = { family: want.family, table: want.name, map: name, type };
    const old = present.get(name) ?? new Map();
    const fresh = new Map(elements);
    const keys = [...old.keys()].filter((key) => fresh.get(key) !== old.get(key));
    const missing = elements.filter(([key, value]) => old.get(key) !== value);
    if (keys.length > 0)
      (isOfVerdicts(type) ? verdictDeletes : deletes).push({ op: "nft.elements.delete", ...at, keys });
    if (missing.length > 0) adds.push({ op: "nft.elements.add", ...at, elements: missing });
  }
  return { deletes, verdictDeletes, adds };
}

function isOfVerdicts(type: NftMap["type"]): boolean {
  return type.endsWith(": verdict");
}

function hasOtherTypes(there: NftTable, want: NftTable): boolean {
  const types = new Map(there.maps.map(({ name, type }) => [name, type]));
  return want.maps.some(({ name, type }) => (types.get(name) ?? type) !== type);
}

function tableKey(table: NftTable): string {
  return `${table.family} ${table.name}`;
}

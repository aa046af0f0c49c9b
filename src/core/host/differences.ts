/**
 * What a diff says, in words: each operation names something that is not as it should be.
 */
import { type DatapathOp, isDatapathOp } from "./datapath.ts";
import type { KernelOp } from "./host-state.ts";

/** One phrase: `address 9.0.1.2/32 on eth0 is missing`. */
export function difference(op: KernelOp): string {
  if (isDatapathOp(op)) return datapathDifference(op);
  switch (op.op) {
    case "link.add":
      return `device ${op.link.name} is missing`;
    case "link.set": {
      const { op: _, name, up, ...rest } = op;
      const wanted = [
        ...(up === undefined ? [] : [`is not ${up ? "up" : "down"}`]),
        ...Object.entries(rest).map(([key, value]) => `has not ${key} ${value}`),
      ];
      return `device ${name} ${wanted.join(" and ")}`;
    }
    case "link.delete":
      return `device ${op.name} should not be there`;
    case "address.replace":
    case "address.delete":
      return `address ${op.address.address} on ${op.address.dev} ${verdict(op.op)}`;
    case "route.replace":
    case "route.delete":
      return `route ${op.route.dst}${op.route.dev === undefined ? "" : ` by ${op.route.dev}`} ${verdict(op.op)}`;
    case "rule.add":
    case "rule.delete":
      return `rule from ${op.rule.src} lookup ${op.rule.table} ${verdict(op.op)}`;
    case "neighbor.replace":
    case "neighbor.delete":
      return `neighbour ${op.neighbor.ip} on ${op.neighbor.dev} ${verdict(op.op)}`;
    case "fdb.replace":
    case "fdb.delete":
      return `FDB entry ${op.entry.mac} on ${op.entry.dev} ${verdict(op.op)}`;
    case "shaper.replace":
    case "shaper.delete":
      return `limit of what leaves by ${op.shaper.dev} ${verdict(op.op)}`;
    case "sysctl.set":
      return `sysctl ${op.sysctl.path} is not ${op.sysctl.value}`;
    case "connections.forget":
      return `connections to ${op.protocol} port ${op.port} are remembered`;
    case "nft.table.replace":
      return `table ${op.table.family} ${op.table.name} ${verdict(op.op)}`;
    case "nft.table.delete":
      return `table ${op.family} ${op.name} ${verdict(op.op)}`;
    case "nft.chain.replace":
      return `chain ${op.chain.name} of table ${op.family} ${op.table} ${verdict(op.op)}`;
    case "nft.chain.delete":
      return `chain ${op.chain} of table ${op.family} ${op.table} ${verdict(op.op)}`;
    case "nft.map.add":
      return `map ${op.map} of table ${op.family} ${op.table} is missing`;
    case "nft.map.delete":
      return `map ${op.map} of table ${op.family} ${op.table} should not be there`;
    case "nft.elements.add":
      return `map ${op.map} of table ${op.family} ${op.table} lacks ${op.elements.length} elements`;
    case "nft.elements.delete":
      return `map ${op.map} of table ${op.family} ${op.table} has ${op.keys.length} wrong elements`;
    case "nft.passage.replace":
      return `chain ${op.passage.chain} of table ${op.passage.family} filter does not begin with the rules of Weft`;
  }
}

function datapathDifference(op: DatapathOp): string {
  switch (op.op) {
    case "datapath.replace":
      return `the datapath of ${op.datapath.dev} is missing or of another version`;
    case "datapath.prepare":
      return `device ${op.at} is not ready for a program`;
    case "datapath.delete":
      return "there should be no datapath";
    case "datapath.set":
      return `the settings of the datapath of ${op.dev} are different`;
    case "datapath.attach":
      return `device ${op.program.dev} has no program`;
    case "datapath.detach":
      return `device ${op.from} should have no program`;
    case "datapath.put":
      return `the datapath of ${op.dev} lacks ${op.entries.length} entries`;
    case "datapath.remove":
      return `the datapath of ${op.dev} has ${op.entries.length} wrong entries`;
  }
}

function verdict(op: KernelOp["op"]): string {
  if (op.endsWith(".delete")) return "should not be there";
  return op.endsWith(".add") ? "is missing" : "is missing or different";
}

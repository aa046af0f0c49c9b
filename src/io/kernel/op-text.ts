/**
 * What an operation is called in an error: the object's name in the words of `ip` and `nft`, one line, no secrets.
 */
import type { KernelOp } from "../../core/host/host-state.ts";
import type { KernelError } from "../ports.ts";
import { errnoText } from "./ffi.ts";
import type { Verdict } from "./netlink/error-message.ts";

function describeOp(op: KernelOp): string {
  switch (op.op) {
    case "link.add":
      return `add ${op.link.kind} ${op.link.name}`;
    case "link.set":
      return `set link ${op.name}`;
    case "link.delete":
      return `delete link ${op.name}`;
    case "address.replace":
    case "address.delete":
      return `${verbOf(op.op)} address ${op.address.address} dev ${op.address.dev}`;
    case "route.replace":
    case "route.delete":
      return `${verbOf(op.op)} route ${op.route.dst} table ${op.route.table} metric ${op.route.metric}`;
    case "rule.add":
    case "rule.delete":
      return `${verbOf(op.op)} rule from ${op.rule.src} lookup ${op.rule.table}`;
    case "neighbor.replace":
    case "neighbor.delete":
      return `${verbOf(op.op)} neighbor ${op.neighbor.ip} dev ${op.neighbor.dev}`;
    case "fdb.replace":
    case "fdb.delete":
      return `${verbOf(op.op)} fdb ${op.entry.mac} dev ${op.entry.dev}`;
    case "shaper.replace":
    case "shaper.delete":
      return `${verbOf(op.op)} qdisc tbf dev ${op.shaper.dev}`;
    case "sysctl.set":
      return `set ${op.sysctl.path} = ${op.sysctl.value}`;
    case "connections.forget":
      return `forget IPv${op.family} connections to ${op.protocol} port ${op.port}`;
    case "nft.table.replace":
      return `replace table ${op.table.family} ${op.table.name}`;
    case "nft.table.delete":
      return `delete table ${op.family} ${op.name}`;
    case "nft.chain.replace":
      return `replace chain ${op.family} ${op.table} ${op.chain.name}`;
    case "nft.chain.delete":
      return `delete chain ${op.family} ${op.table} ${op.chain}`;
    case "nft.map.add":
    case "nft.map.delete":
      return `${op.op.slice("nft.map.".length)} map ${op.family} ${op.table} ${op.map}`;
    case "nft.elements.add":
    case "nft.elements.delete":
      return `${op.op.slice("nft.elements.".length)} elements of map ${op.family} ${op.table} ${op.map}`;
    case "nft.passage.replace":
      return `replace the rules of Weft in chain ${op.passage.family} filter ${op.passage.chain}`;
    case "datapath.replace":
      return `put the datapath of ${op.datapath.dev} in place`;
    case "datapath.prepare":
      return `make ${op.at} ready for a program`;
    case "datapath.delete":
      return "take the datapath away";
    case "datapath.set":
      return `set the datapath of ${op.dev}`;
    case "datapath.attach":
      return `attach a program to ${op.program.dev}`;
    case "datapath.detach":
      return `detach the program of ${op.from}`;
    case "datapath.put":
    case "datapath.remove":
      return `${verbOf(op.op)} ${op.entries.length} entries of the datapath of ${op.dev}`;
  }
}

/** The error of an operation that the kernel refused. */
export function refusedOp(op: KernelOp, verdict: Verdict): KernelError {
  const { name, text } = errnoText(verdict.errno);
  return kernelError(op, name, verdict.text ?? text);
}

export function kernelError(op: KernelOp, code: string, text: string): KernelError {
  const remedy = code === "EPERM" || code === "EACCES" ? "; run as root, or with CAP_NET_ADMIN and CAP_SYS_ADMIN" : "";
  return { code, message: `${describeOp(op)}: ${text} (${code})${remedy}` };
}

function verbOf(op: string): string {
  return op.slice(op.indexOf(".") + 1);
}

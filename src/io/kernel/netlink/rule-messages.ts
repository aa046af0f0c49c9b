/**
 * Policy rules `from SRC lookup TABLE` of ROUTE_PROTOCOL in rtnetlink. The kernel cannot filter their list: others are
 * left out when it is read. Sources: linux/fib_rules.h, net/core/fib_rules.c.
 */
import type { Rule } from "../../../core/host/host-state.ts";
import { addressOf, familyOf, ipToBytes, lengthOf } from "../../../model/ip.ts";
import { ROUTE_PROTOCOL } from "../../../model/names.ts";
import { familyNumber } from "./family.ts";
import {
  Attributes,
  type Message,
  type MessageWriter,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_EXCL,
  NLM_F_REQUEST,
} from "./message.ts";
import { familyFrom, prefixOf } from "./route-messages.ts";

const RTM_NEWRULE = 32;
const RTM_DELRULE = 33;
const RTM_GETRULE = 34;
/** struct fib_rule_hdr */
const RULE_BYTES = 12;
const FRA_SRC = 2;
const FRA_PRIORITY = 6;
const FRA_TABLE = 15;
const FRA_PROTOCOL = 21;
const FR_ACT_TO_TBL = 1;

export function encodeRuleAdd(writer: MessageWriter, rule: Rule): void {
  writer.message(RTM_NEWRULE, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL, () => writeRule(writer, rule));
}

export function encodeRuleDelete(writer: MessageWriter, rule: Rule): void {
  writer.message(RTM_DELRULE, NLM_F_REQUEST, () => writeRule(writer, rule));
}

/** Asks for all rules of both families. */
export function encodeRuleDump(writer: MessageWriter): void {
  writer.message(RTM_GETRULE, NLM_F_REQUEST | NLM_F_DUMP, () => writer.raw(new Uint8Array(RULE_BYTES)));
}

/**
 * `undefined` for a rule that is not of ROUTE_PROTOCOL or looks up no table.
 * @throws Fault kernel-refused on garbage
 */
export function decodeRule(message: Message): Rule | undefined {
  const { payload } = message;
  const attributes = new Attributes(payload, RULE_BYTES);
  const family = familyFrom(payload[0]);
  if (attributes.u8(FRA_PROTOCOL) !== ROUTE_PROTOCOL || payload[7] !== FR_ACT_TO_TBL || family === undefined)
    return undefined;
  return {
    src: prefixOf(family, attributes.bytes(FRA_SRC), payload[2] ?? 0),
    table: attributes.u32(FRA_TABLE) ?? payload[4] ?? 0,
    priority: attributes.u32(FRA_PRIORITY) ?? 0,
  };
}

function writeRule(writer: MessageWriter, rule: Rule): void {
  writer.u8(familyNumber(familyOf(rule.src)));
  writer.u8(0); // destination prefix length
  writer.u8(lengthOf(rule.src));
  writer.u8(0); // TOS
  writer.u8(rule.table < 256 ? rule.table : 0); // the attribute counts
  writer.u8(0);
  writer.u8(0);
  writer.u8(FR_ACT_TO_TBL);
  writer.u32(0); // flags
  if (lengthOf(rule.src) > 0) writer.attribute(FRA_SRC, ipToBytes(addressOf(rule.src)));
  writer.attributeU32(FRA_TABLE, rule.table);
  writer.attributeU32(FRA_PRIORITY, rule.priority);
  writer.attributeU8(FRA_PROTOCOL, ROUTE_PROTOCOL);
}

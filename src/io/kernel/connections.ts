/**
 * Connections that the kernel tracks (ctnetlink), as far as some have to be forgotten.
 *
 * The kernel is asked for those of one port alone; one older than 5.8 tells of all, so each is looked at here as well.
 * Sources: linux/netfilter/nfnetlink_conntrack.h; the filter's flags: net/netfilter/nf_conntrack_netlink.c.
 */
import type { KernelOp } from "../../core/host/host-state.ts";
import { addressOf, bytesToIp, type Family, type Ip } from "../../model/ip.ts";
import type { KernelSockets } from "./kernel-sockets.ts";
import { decodeAddress, encodeAddressDump } from "./netlink/address-messages.ts";
import { familyNumber } from "./netlink/family.ts";
import { Attributes, type Message, MessageWriter, NLM_F_DUMP, NLM_F_REQUEST } from "./netlink/message.ts";

const NFNL_SUBSYS_CTNETLINK = 1;
const IPCTNL_MSG_CT_GET = (NFNL_SUBSYS_CTNETLINK << 8) | 1;
const IPCTNL_MSG_CT_DELETE = (NFNL_SUBSYS_CTNETLINK << 8) | 2;
/** struct nfgenmsg */
const GENMSG_BYTES = 4;

const CTA_TUPLE_ORIG = 1;
const CTA_ID = 12;
const CTA_ZONE = 18;
const CTA_FILTER = 25;
const CTA_TUPLE_IP = 1;
const CTA_TUPLE_PROTO = 2;
const CTA_IP_DST = { 4: 2, 6: 4 } as const;
const CTA_PROTO_NUM = 1;
const CTA_PROTO_DST_PORT = 3;
const CTA_FILTER_ORIG_FLAGS = 1;
const CTA_FILTER_F_CTA_PROTO_NUM = 1 << 3;
const CTA_FILTER_F_CTA_PROTO_DST_PORT = 1 << 5;

const PROTOCOL_NUMBERS = { udp: 17 } as const;

type Forget = Extract<KernelOp, { op: "connections.forget" }>;

/** What tells one connection from all others, as the kernel wrote it. */
interface Tracked {
  readonly dst: Ip;
  readonly attributes: readonly (readonly [type: number, value: Uint8Array])[];
}

/** One that ends meanwhile is forgotten, too. @throws Fault kernel-refused, no-rights; SystemCallError */
export function forgetConnections(sockets: KernelSockets, op: Forget): void {
  const socket = sockets.netfilter();
  if (socket === undefined) return;
  const question = new MessageWriter();
  encodeDump(question, op);
  const tracked = socket.dump("tracked connections", question, (message) => decode(message, op));
  if (tracked.length === 0) return;
  const own = op.to === undefined ? ownAddresses(sockets) : new Set([op.to]);
  const doomed = tracked.filter(({ dst }) => own.has(dst));
  for (const { attributes } of doomed) {
    const request = new MessageWriter();
    encodeDelete(request, op.family, attributes);
    request.acknowledgeLast();
    socket.ask(request, () => {});
  }
}

function ownAddresses({ route }: KernelSockets): ReadonlySet<Ip> {
  const question = new MessageWriter();
  encodeAddressDump(question);
  return new Set(
    route
      .dump("addresses", question, (message) => decodeAddress(message, () => "any"))
      .map(({ address }) => addressOf(address)),
  );
}

function encodeDump(writer: MessageWriter, { family, protocol, port }: Forget): void {
  writer.message(IPCTNL_MSG_CT_GET, NLM_F_REQUEST | NLM_F_DUMP, () => {
    writeHeader(writer, family);
    writer.nested(CTA_TUPLE_ORIG, () =>
      writer.nested(CTA_TUPLE_PROTO, () => {
        writer.attributeU8(CTA_PROTO_NUM, PROTOCOL_NUMBERS[protocol]);
        writer.attributeU16BigEndian(CTA_PROTO_DST_PORT, port);
      }),
    );
    const flags = CTA_FILTER_F_CTA_PROTO_NUM | CTA_FILTER_F_CTA_PROTO_DST_PORT;
    writer.nested(CTA_FILTER, () => writer.attributeU32(CTA_FILTER_ORIG_FLAGS, flags));
  });
}

function decode({ payload }: Message, { family, protocol, port }: Forget): Tracked | undefined {
  const all = new Attributes(payload, GENMSG_BYTES);
  const tuple = all.nested(CTA_TUPLE_ORIG);
  const transport = tuple?.nested(CTA_TUPLE_PROTO);
  const dst = tuple?.nested(CTA_TUPLE_IP)?.bytes(CTA_IP_DST[family]);
  const isMeant =
    transport?.u8(CTA_PROTO_NUM) === PROTOCOL_NUMBERS[protocol] && transport.u16BigEndian(CTA_PROTO_DST_PORT) === port;
  if (!isMeant || dst === undefined) return undefined;
  // The answer's buffer is used again for the next.
  const attributes = [CTA_TUPLE_ORIG, CTA_ZONE, CTA_ID].flatMap((type) => {
    const value = all.bytes(type)?.slice();
    return value === undefined ? [] : [[type, value] as const];
  });
  return { dst: bytesToIp(dst), attributes };
}

function encodeDelete(writer: MessageWriter, family: Family, attributes: Tracked["attributes"]): void {
  writer.message(IPCTNL_MSG_CT_DELETE, NLM_F_REQUEST, () => {
    writeHeader(writer, family);
    for (const [type, value] of attributes)
      if (type === CTA_TUPLE_ORIG) writer.nested(type, () => writer.raw(value));
      else writer.attribute(type, value);
  });
}

/** struct nfgenmsg: family, version, and a number that means nothing here. */
function writeHeader(writer: MessageWriter, family: Family): void {
  writer.u8(familyNumber(family));
  writer.u8(0);
  writer.u16(0);
}

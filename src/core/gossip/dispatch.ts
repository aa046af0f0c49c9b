/**
 * Which part of a member hears which message.
 */
import type { Context } from "./context.ts";
import type { Address, MemberId, Message, MessageType } from "./messages.ts";

/** Who was heard of this short a time ago is heard: whoever asks that by a relay has just been pinging by itself, ms. */
const DIRECTLY_MS = 1_500;

type Handler<T extends MessageType> = (
  ctx: Context,
  sender: MemberId,
  message: Extract<Message, { type: T }>,
  from: Address,
) => void;

const HANDLERS: { readonly [T in MessageType]: Handler<T> } = {
  ping: (ctx, sender, { seq, dead, about }, from) => {
    const { judge, outbox, links, lifecycle, now } = ctx;
    if (dead !== undefined) judge.refute(dead);
    const hasHeard = about !== undefined && now - lifecycle.heard.at(about) <= DIRECTLY_MS;
    outbox.control(from, { type: "ack", seq, isLink: links.isWanted(sender), hasHeard });
  },
  ack: (ctx, sender, message) => ctx.prober.onAck(sender, message.seq, message),
  "ping-request": (ctx, sender, { seq, target, belief }) => ctx.prober.onPingRequest(sender, seq, target, belief),
  "relayed-ack": (ctx, _, { seq, target, hasHeard }) => ctx.prober.onRelayedAck(seq, target, hasHeard),
  testimony: (ctx, sender, { seq, testimony }) => ctx.prober.onTestimony(sender, seq, testimony),
  neighbor: (ctx, sender, { isUrgent }) => ctx.links.onNeighbor(sender, isUrgent),
  "neighbor-accept": (ctx, sender) => ctx.links.onAccept(sender),
  "neighbor-deny": (ctx, sender) => ctx.links.onDeny(sender),
  disconnect: (ctx, sender) => ctx.links.drop(sender, false),
  "sync-root": (ctx, sender, { high, low }) => ctx.sync.onRoot(sender, high, low),
  join: (ctx, sender, { head }, from) => ctx.lifecycle.onJoin(from, sender, head),
  "join-reply": (ctx, sender, { head, known }) => ctx.lifecycle.onJoinReply(sender, head, known),
  member: (ctx, sender, { head, isAsked }) => {
    ctx.judge.onHead(sender, head, isAsked);
  },
  death: (ctx, sender, { death, isAsked }) => ctx.judge.onDeath(sender, death, isAsked),
  delta: (ctx, sender, { delta, isAsked }) => ctx.records.onDelta(sender, delta, isAsked),
  ihave: (ctx, sender, { items }) => ctx.broadcast.onIhave(sender, items),
  pull: (ctx, sender, { item, isGraft }) => ctx.broadcast.onPull(sender, item, isGraft),
  prune: (ctx, sender) => ctx.broadcast.onPrune(sender),
  doubts: (ctx, sender, { items }) => ctx.sync.onDoubts(sender, items),
  "sync-buckets": (ctx, sender, { buckets }) => ctx.sync.onBuckets(sender, buckets),
  "sync-rows": (ctx, sender, message) => ctx.sync.onRows(sender, message),
};

/** @param from where the packet came from */
export function handle(ctx: Context, from: Address, sender: MemberId, message: Message): void {
  (HANDLERS[message.type] as Handler<MessageType>)(ctx, sender, message as never, from);
}

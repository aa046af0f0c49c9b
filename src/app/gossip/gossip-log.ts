/**
 * What gossip finds, as lines of the log that an operator can follow. A suspicion that comes to nothing is a detail; a
 * member that is gone, back, or reached by one direction only is a warning.
 */
import type { GossipEvent } from "../../core/gossip/context.ts";
import type { MemberView } from "../../core/gossip/gossip.ts";
import { DEAD, LEFT, type MemberId } from "../../core/gossip/messages.ts";
import type { Log } from "../../io/log.ts";

/** What is held of a member from now on: on every member, so a detail. */
export function logMember(log: Log, { head, status }: MemberView, name: string): void {
  const text = status === DEAD ? "dead" : status === LEFT ? "left" : "alive";
  log.debug({ member: name, address: head.address, status: text }, "member is known to be");
}

/** @param nameOf the member's agent id, or what else people know it by */
export function logEvent(log: Log, event: GossipEvent, nameOf: (id: MemberId) => string): void {
  switch (event.type) {
    case "joined":
      log.info({ members: event.members }, "gossip joined");
      return;
    case "suspect":
      log.debug({ member: nameOf(event.id) }, "member does not answer");
      return;
    case "accused":
      log.warn({ member: nameOf(event.id), testimonies: event.testimonies }, "member is called dead by this one");
      return;
    case "refuted":
      log.warn({ incarnation: event.inc }, "this member was called dead, and contradicts");
      return;
    case "one-way":
      log.warn(
        { member: nameOf(event.id), direction: event.direction },
        event.direction === "from"
          ? "packets arrive at this member and do not come back; others reach it"
          : "packets do not arrive at this member; others reach it",
      );
      return;
    case "deaf":
      log.warn({}, "nobody answers this member; is its own network down?");
      return;
    case "paused":
      log.warn({ milliseconds: Math.round(event.ms) }, "this process stood still; gossip begins anew");
      return;
    case "healed":
      log.info({ member: nameOf(event.id) }, "member that was held for dead answers");
      return;
    case "gen-jumped":
      log.info({ generation: event.gen }, "others know more of this member than its disk; it begins a new generation");
  }
}

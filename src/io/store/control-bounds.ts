/**
 * What every control store refuses to append, before anything is written: an event that does not follow the last one, and
 * one that is too large for a single request to etcd. All of them refuse the same, so that a cluster which moves from one
 * to another never holds what the other would not have taken.
 */
import { eventBytes } from "../../core/control/pieces.ts";
import type { ControlEvent } from "../../model/control-event.ts";
import { CHANGES_MAX, CONTROL_EVENT_MAX_BYTES } from "../../model/control-limits.ts";
import { assert, Fault } from "../../model/fault.ts";

/**
 * @param head the revision that the first event follows
 * @returns the bytes that each event takes
 * @throws Fault bad-request when one is larger than CONTROL_EVENT_MAX_BYTES
 */
export function checkEvents(events: readonly ControlEvent[], head: number): readonly number[] {
  return events.map((event, index) => {
    assert(event.revision === head + 1 + index, `event ${event.revision} follows revision ${head + index}`);
    assert(event.changes.length <= CHANGES_MAX, `event ${event.revision} changes ${CHANGES_MAX} entries at most`);
    const keys = new Set(event.changes.map(({ key }) => key));
    assert(keys.size === event.changes.length, `event ${event.revision} changes each entry once`);
    const bytes = eventBytes(event);
    if (bytes <= CONTROL_EVENT_MAX_BYTES) return bytes;
    throw new Fault(
      "bad-request",
      `'${event.what}' is a change of ${bytes} bytes; at most ${CONTROL_EVENT_MAX_BYTES} can be stored in one piece: make it in smaller steps`,
      { bytes, max: CONTROL_EVENT_MAX_BYTES },
    );
  });
}

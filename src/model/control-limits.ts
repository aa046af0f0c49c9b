/**
 * The bounds of the control plane's entries and events, whatever store they are in; those of everything else are in
 * limits.ts. Each with its unit and its reason.
 */

/** How often it is looked for shortages that have begun or are over, and how long lies between two events of one. */
export const SHORTAGE_CHECK_MS = 10_000;
export const SHORTAGE_HOLD_MS = 60_000;
/** Entries that one event changes: with the event itself and the fence it fits one transaction of etcd (128 operations). */
export const CHANGES_MAX = 100;
/** Events that are kept; the oldest are forgotten, a thousand at a time. */
export const EVENTS_KEPT = 100_000;
/** Events of one write to the store. */
export const EVENTS_AT_ONCE_MAX = 100;
/** Bytes of the file that `weft store export` writes: it is one string in memory. */
export const STORE_FILE_MAX_BYTES = 400_000_000;
/** Events of one answer, and their bytes, also of one that a store gives. */
export const EVENTS_SHOWN_MAX = 1_000;
export const EVENTS_READ_MAX_BYTES = 8 << 20;
/** Bytes of one event and the entries that it writes: etcd takes 1.5 MiB in one request (--max-request-bytes). A value of
 * 500 kB that replaces one of 500 kB fits: both are in the event, and the new one is written. */
export const CONTROL_EVENT_MAX_BYTES = 1_560_000;

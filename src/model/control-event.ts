/**
 * The control plane as entries by key, and its history as events. An entry is one thing that changes by itself
 * (`network/dcos`, `agent/ID`); its value is JSON. The revision counts events from 1, without gaps.
 */

export interface EntryChange {
  readonly key: string;
  /** Absent: there was no such entry. */
  readonly before?: unknown;
  /** Absent: the entry is gone. */
  readonly after?: unknown;
}

/** One change of the control plane, made in one piece; or a part of one that is too large for that. */
export interface ControlEvent {
  readonly revision: number;
  /** RFC 3339, UTC: for people; the revision orders events. */
  readonly at: string;
  /** `operator socket`, `operator token 3f…`, `agent 5b…`, `master`. */
  readonly who: string;
  /** One line: `network web: added`. */
  readonly what: string;
  /** At most CHANGES_MAX, each key once. */
  readonly changes: readonly EntryChange[];
}

export interface ControlState {
  /** Of the last event; 0 of a store that is new. */
  readonly revision: number;
  readonly entries: ReadonlyMap<string, unknown>;
}

/**
 * The bounds of what is said with a container engine; those of everything else are in limits.ts, which has no room for
 * more. Each with its unit and its reason.
 */

/** What a container engine may take to answer; when it makes or removes a network, it asks our driver meanwhile. */
export const ENGINE_CALL_MS = 5_000;
export const ENGINE_CHANGE_MS = 30_000;
/** Bytes of one answer of a container engine: 10,000 containers of 2 kB are 20 MB. */
export const ENGINE_ANSWER_MAX_BYTES = 64 << 20;
/** Bytes of one of its events, which carries all labels of a container. */
export const ENGINE_EVENT_MAX_BYTES = 1 << 20;
/** Bytes of one call of a Docker engine: published ports are its bulk. */
export const ENGINE_CALL_MAX_BYTES = 1 << 20;
/** What a call of a Docker engine may take: it waits for ever, with the container locked. */
export const ENGINE_CALL_MAX_MS = 10_000;
/** Pools of networks that engines have begun to add; an engine asks for two and is done with them within seconds. */
export const NEW_POOLS_MAX = 16;
/** What of that a new network may take to come to this host, once the master was asked for it. */
export const ENGINE_ADD_WAIT_MS = 8_000;
/** For so long after its making was answered a network may be missing in an engine's list. */
export const ENGINE_ARRIVAL_MS = 5_000;
/** For how long an engine must not have listed a lease of its own before it is given back: a call is repeated for 15 s. */
export const ENGINE_FORGETS_MS = 30_000;
/** Its lists are compared with the leases so often. */
export const ENGINE_COMPARE_INTERVAL_MS = 30_000;
/** An engine is looked at this often, besides when it tells of a change. */
export const ENGINE_INTERVAL_MS = 30_000;
/** So long after a change: a container that starts tells of five. */
export const ENGINE_DEBOUNCE_MS = 200;
/** Pauses before it is asked again when it was away or refused: each twice the last one. Asking in vain costs nothing. */
export const ENGINE_RETRY_FIRST_MS = 500;
export const ENGINE_RETRY_MAX_MS = 5_000;

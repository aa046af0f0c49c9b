/**
 * The whole control plane out of etcd, as of one revision of it, also while a master leads; and into it, while none does.
 * Who imports holds the leader's key meanwhile, as a master would, so that every write is refused once a master took over.
 */
import type { ControlDump } from "../../../core/control/dump.ts";
import type { ControlEvent } from "../../../model/control-event.ts";
import { CONTROL_EVENT_MAX_BYTES } from "../../../model/control-limits.ts";
import { Fault } from "../../../model/fault.ts";
import { ETCD_PAGE_ENTRIES } from "../../../model/limits.ts";
import { notEmpty } from "../transfer.ts";
import { type EtcdAccess, EtcdClient } from "./etcd-client.ts";
import { EtcdAnswerTooLong, EtcdError, etcdFault } from "./etcd-errors.ts";
import {
  compareWritten,
  type KeyValue,
  type Operation,
  put,
  range,
  rangeBody,
  rangeResponse,
  rangesOf,
  remove,
  type TxnResponse,
  txnResponse,
} from "./etcd-messages.ts";
import { checkVersions } from "./etcd-version.ts";
import { eventText, IMPORTING, Layout } from "./layout.ts";
import { Lease } from "./lease.ts";

export interface EtcdPlace extends EtcdAccess {
  readonly prefix: string;
  /** For messages. */
  readonly text: string;
}

/** With room for what else a transaction compares and asks; etcd's own bound is 128. */
const OPERATIONS_MAX = 120;
const READS_MAX = 5;
/** Nobody serves there: a master that asks it for a sign of life takes over. */
const SELF = { id: "weft-store-import", url: "http://store-import.invalid" };

/** @throws Fault storage, unauthorized, corrupt-store, unsupported-version */
export function readEtcdStore(place: EtcdPlace): Promise<ControlDump> {
  return withClient(place, "read the cluster's state", async (client, layout) => {
    for (let reads = 1; ; reads += 1)
      try {
        return await readOnce(client, layout);
      } catch (thrown) {
        // What was to be read was compacted under the reader.
        if (!(thrown instanceof EtcdError && thrown.isCompacted && reads < READS_MAX)) throw thrown;
      }
  });
}

/** @throws Fault in-use while a master leads; bad-request when something is there and `isReplacing` is not said; as above */
export function writeEtcdStore(place: EtcdPlace, dump: ControlDump, isReplacing: boolean): Promise<void> {
  return withClient(place, "import a cluster's state", async (client, layout) => {
    const lease = await Lease.grant(client, new AbortController().signal);
    try {
      const term = await enter(client, layout, lease, isReplacing ? undefined : place.text);
      const write = (success: readonly Operation[]) => writePiece(client, layout, term, success);
      await write([
        remove(layout.entries, layout.entriesEnd),
        remove(layout.event(0), layout.eventsEnd),
        put(layout.revision, IMPORTING),
      ]);
      for (const piece of piecesOf(writesOf(dump, layout, term))) await write(piece);
      await write([dump.revision === 0 ? remove(layout.revision) : put(layout.revision, String(dump.revision))]);
    } finally {
      await lease.giveBack();
    }
  });
}

async function withClient<T>(
  place: EtcdPlace,
  doing: string,
  body: (client: EtcdClient, layout: Layout) => Promise<T>,
): Promise<T> {
  const client = new EtcdClient(place);
  const layout = new Layout(place.prefix);
  try {
    await checkVersions(client, layout);
    return await body(client, layout);
  } catch (thrown) {
    throw etcdFault(thrown, doing);
  } finally {
    client.close();
  }
}

async function readOnce(client: EtcdClient, layout: Layout): Promise<ControlDump> {
  const { header, kvs } = await client.call("/v3/kv/range", rangeBody(layout.revision), rangeResponse);
  const revision = layout.headOf(kvs[0]);
  const entries = new Map<string, unknown>();
  for await (const found of pages(client, layout.entries, layout.entriesEnd, header.revision))
    entries.set(...layout.entryOf(found));
  const events: ControlEvent[] = [];
  for await (const found of pages(client, layout.event(0), layout.eventsEnd, header.revision))
    events.push(layout.eventOf(found));
  return { revision, entries, events };
}

async function* pages(client: EtcdClient, first: string, end: string, revision: number): AsyncGenerator<KeyValue> {
  let size = ETCD_PAGE_ENTRIES;
  for (let from: string | undefined = first; from !== undefined; ) {
    const body = rangeBody(from, { end, limit: size, revision });
    const page = await client.call("/v3/kv/range", body, rangeResponse).catch((thrown: unknown) => {
      if (!(thrown instanceof EtcdAnswerTooLong) || size === 1) throw thrown;
      return undefined;
    });
    if (page === undefined) size = Math.ceil(size / 2);
    else {
      yield* page.kvs;
      from = page.more ? `${page.kvs.at(-1)?.key}\0` : undefined;
    }
  }
}

/** @param where to be named when something is there; absent: that may be lost @returns the number of the term */
async function enter(client: EtcdClient, layout: Layout, lease: Lease, where: string | undefined): Promise<number> {
  const { leader, revision, entries, entriesEnd } = layout;
  const looks = [range(leader), range(revision), range(entries, { end: entriesEnd, limit: 1, keysOnly: true })];
  const txn = {
    compare: [compareWritten(leader, 0)],
    success: [put(leader, JSON.stringify(SELF), lease.id), ...looks],
    failure: looks,
  };
  const answer = await client.call("/v3/kv/txn", txn, txnResponse);
  const [leaders, revisions, some] = rangesOf(answer);
  const found = leaders?.[0];
  if (found === undefined || found.lease !== lease.id) throw led(found && layout.leaderOf(found).url);
  if (where !== undefined && (revisions?.[0] !== undefined || some?.[0] !== undefined)) throw notEmpty(where);
  return found.written;
}

/** What is written twice is the same twice, so a call whose answer is lost is simply sent again. */
async function writePiece(
  client: EtcdClient,
  layout: Layout,
  term: number,
  success: readonly Operation[],
): Promise<void> {
  const txn = { compare: [compareWritten(layout.leader, term)], success, failure: [range(layout.leader)] };
  const answer: TxnResponse = await client.call("/v3/kv/txn", txn, txnResponse);
  const found = rangesOf(answer)[0]?.[0];
  if (!answer.succeeded) throw led(found && layout.leaderOf(found).url);
}

function led(url: string | undefined): Fault {
  return new Fault(
    "in-use",
    `${url === undefined ? "a master" : `the master ${url}`} leads with this etcd; stop all masters, and import then`,
  );
}

interface Write {
  readonly operation: Operation;
  readonly bytes: number;
}

function* writesOf({ entries, events }: ControlDump, layout: Layout, term: number): Generator<Write> {
  for (const [key, value] of entries) yield writeOf(layout.entry(key), JSON.stringify(value));
  for (const event of events) yield writeOf(layout.event(event.revision), eventText(event, term));
}

function writeOf(key: string, value: string): Write {
  return { operation: put(key, value), bytes: Buffer.byteLength(key) + Buffer.byteLength(value) };
}

function* piecesOf(writes: Iterable<Write>): Generator<readonly Operation[]> {
  let piece: Operation[] = [];
  let sum = 0;
  for (const { operation, bytes } of writes) {
    if (piece.length >= OPERATIONS_MAX || (piece.length > 0 && sum + bytes > CONTROL_EVENT_MAX_BYTES / 2)) {
      yield piece;
      piece = [];
      sum = 0;
    }
    piece.push(operation);
    sum += bytes;
  }
  if (piece.length > 0) yield piece;
}

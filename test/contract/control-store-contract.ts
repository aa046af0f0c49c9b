/**
 * What every store of the control plane must do, whatever it keeps it in. A place is what survives a store: a folder, an
 * object in memory, a prefix of an etcd.
 */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { ControlStore, MasterAddress, Term } from "../../src/io/ports.ts";
import type { ControlEvent, ControlState, EntryChange } from "../../src/model/control-event.ts";
import { CHANGES_MAX, CONTROL_EVENT_MAX_BYTES, EVENTS_READ_MAX_BYTES } from "../../src/model/control-limits.ts";
import { Fault } from "../../src/model/fault.ts";

export interface ControlPlace {
  /** A handle of its own. */
  open(): ControlStore | Promise<ControlStore>;
  /** Lets another handle lead, as if the one that leads slept. Where the place is shared. */
  depose?(store: ControlStore): Promise<void>;
  dispose(): void | Promise<void>;
}

export const master = (n: number): MasterAddress => ({ id: `master-${n}`, url: `http://10.0.0.${n}:5050` });

export function event(revision: number, ...changes: EntryChange[]): ControlEvent {
  return { revision, at: "2026-01-02T03:04:05Z", who: "operator socket", what: `change ${revision}`, changes };
}

/** A store that does not come back would hold up the whole run. */
const TEST_MS = 30_000;
const NEVER = new AbortController().signal;
/** A value of as many bytes of JSON. */
const large = (bytes: number) => "x".repeat(bytes - 2);

function sorted({ revision, entries }: ControlState): unknown {
  return { revision, entries: [...entries].sort(([a], [b]) => (a < b ? -1 : 1)) };
}

async function refused(call: Promise<unknown>, code: Fault["code"]): Promise<Fault> {
  const thrown = await call.then(
    () => assert.fail(`not refused: ${code}`),
    (error: unknown) => error,
  );
  assert.ok(thrown instanceof Fault, String(thrown));
  assert.equal(thrown.code, code, thrown.message);
  return thrown;
}

/** A store that is closed when the test ends. */
async function opened(t: TestContext, place: ControlPlace): Promise<ControlStore> {
  const store = await place.open();
  t.after(() => store.close());
  return store;
}

async function leading(t: TestContext, place: ControlPlace, n = 1): Promise<{ store: ControlStore; term: Term }> {
  const store = await opened(t, place);
  return { store, term: await store.lead(master(n), NEVER) };
}

/** @param isShared whether several stores may be open at once, as several masters */
export function controlStoreContract(
  name: string,
  makePlace: () => ControlPlace | Promise<ControlPlace>,
  { isShared, skip }: { readonly isShared: boolean; readonly skip?: string | undefined },
): void {
  const it = (what: string, body: (t: TestContext, place: ControlPlace) => Promise<void>) =>
    test(`${name}: ${what}`, { skip: skip ?? false, timeout: TEST_MS }, async (t) => {
      const place = await makePlace();
      t.after(() => place.dispose());
      await body(t, place);
    });
  contents(it);
  bounds(it);
  if (isShared) severalMasters(it);
}

type It = (what: string, body: (t: TestContext, place: ControlPlace) => Promise<void>) => void;

function contents(it: It): void {
  it("is empty at first", async (t, place) => {
    const { term } = await leading(t, place);
    assert.deepEqual(await term.load(), { revision: 0, entries: new Map() });
    assert.deepEqual(await term.events(0, 10), []);
    assert.ok(term.number > 0);
  });

  it("keeps what events leave behind, and the events", async (t, place) => {
    const { term } = await leading(t, place);
    await term.append([event(1, { key: "network/a", after: { name: "a" } }, { key: "agent/1", after: 1 })]);
    const more = [
      event(2, { key: "network/a", before: { name: "a" }, after: { name: "b" } }),
      event(3, { key: "agent/1", before: 1 }, { key: "agent/2", after: null }),
      event(4, { key: "agent/2", before: null, after: [] }),
    ];
    await term.append(more);
    const state = {
      revision: 4,
      entries: new Map<string, unknown>([
        ["agent/2", []],
        ["network/a", { name: "b" }],
      ]),
    };
    assert.deepEqual(sorted(await term.load()), sorted(state));
    assert.deepEqual(await term.events(1, 10), more);
    assert.deepEqual(await term.events(0, 2), [
      event(1, { key: "network/a", after: { name: "a" } }, { key: "agent/1", after: 1 }),
      more[0],
    ]);
    assert.deepEqual(await term.events(4, 10), []);
  });

  it("opens again with all of it", async (t, place) => {
    const first = await place.open();
    const term = await first.lead(master(1), NEVER);
    await term.append([event(1, { key: "a", after: "1" }), event(2, { key: "b", after: "2" })]);
    const before = await term.load();
    await first.close();
    const again = (await leading(t, place)).term;
    assert.deepEqual(sorted(await again.load()), sorted(before));
    assert.equal((await again.events(0, 10)).length, 2);
    await again.append([event(3, { key: "a", before: "1" })]);
    assert.deepEqual(sorted(await again.load()), { revision: 3, entries: [["b", "2"]] });
    assert.ok(again.number >= term.number, "terms do not fall");
  });

  it("takes any JSON as a value, and any text as a key", async (t, place) => {
    const { term } = await leading(t, place);
    const values: Record<string, unknown> = {
      "text/ü€😀": 'ü€😀\u0000\u2028\\"',
      number: -1.5e-7,
      zero: 0,
      false: false,
      null: null,
      empty: {},
      nested: [[{ "": [] }], { a: { b: [1, "2", null, true] } }],
      "a/b/../c": "",
      "with space\n": "x",
      "entry/": 1,
      "0": 2,
      "~": JSON.parse('{"__proto__": {"x": 1}}') as unknown,
    };
    const changes = Object.entries(values).map(([key, after]) => ({ key, after }));
    await term.append([event(1, ...changes)]);
    assert.deepEqual(sorted(await term.load()), sorted({ revision: 1, entries: new Map(Object.entries(values)) }));
    assert.deepEqual((await term.events(0, 1))[0]?.changes, changes);
  });

  it("forgets old events and keeps the state", async (t, place) => {
    const { term } = await leading(t, place);
    for (let revision = 1; revision <= 25; revision += 1)
      await term.append([event(revision, { key: `k${revision % 3}`, after: revision })]);
    await term.forget(20);
    assert.deepEqual(
      (await term.events(0, 100)).map(({ revision }) => revision),
      [21, 22, 23, 24, 25],
    );
    assert.deepEqual(sorted(await term.load()), {
      revision: 25,
      entries: [
        ["k0", 24],
        ["k1", 25],
        ["k2", 23],
      ],
    });
    await term.forget(0);
    assert.equal((await term.events(20, 100)).length, 5);
    await term.forget(25);
    // The last one may stay: it can be what tells the revision.
    assert.ok((await term.events(0, 100)).length <= 1);
    await term.append([event(26, { key: "k0", before: 24 })]);
    assert.equal((await term.load()).revision, 26);
  });
}

function bounds(it: It): void {
  it("takes events of many changes, many at once", async (t, place) => {
    const { term } = await leading(t, place);
    const changes = (n: number) =>
      Array.from({ length: CHANGES_MAX }, (_, at) => ({ key: `k${at}`, after: n * 1000 + at }));
    const events = Array.from({ length: 12 }, (_, n) => event(n + 1, ...changes(n)));
    await term.append(events);
    assert.deepEqual(await term.events(0, 100), events);
    const { revision, entries } = await term.load();
    assert.equal(revision, 12);
    assert.deepEqual([entries.size, entries.get("k7")], [CHANGES_MAX, 11_007]);
    await term.append(Array.from({ length: 100 }, (_, n) => event(13 + n, { key: "one", after: n })));
    assert.equal((await term.load()).entries.get("one"), 99);
  });

  it("takes values of 500 kB, and refuses clearly what is larger than one write", async (t, place) => {
    const { term } = await leading(t, place);
    const value = (letter: string) => letter + large(500_000).slice(1);
    await term.append([event(1, { key: "large", after: value("a") })]);
    await term.append([event(2, { key: "large", before: value("a"), after: value("b") })]);
    const rest = [3, 4, 5].map((revision) => event(revision, { key: `l${revision}`, after: value("c") }));
    await term.append(rest);
    const fault = await refused(
      term.append([event(6, { key: "huge", after: large(CONTROL_EVENT_MAX_BYTES / 2) })]),
      "bad-request",
    );
    assert.match(fault.message, /change 6.*in smaller steps/);
    const { revision, entries } = await term.load();
    assert.deepEqual([revision, entries.size, entries.get("large") === value("b")], [5, 4, true]);
    await term.append([event(6, { key: "large", before: value("b") })]);
  });

  it("gives no more events at once than can be held, one at least, and all of them one after the other", async (t, place) => {
    const { term } = await leading(t, place);
    const events = Array.from({ length: 20 }, (_, n) =>
      event(n + 1, { key: `k${n % 3}`, after: large(n === 7 ? 770_000 : 600_000) }),
    );
    for (const each of events) await term.append([each]);
    const found: ControlEvent[] = [];
    const counts: number[] = [];
    for (let more = await term.events(0, 100); more.length > 0; more = await term.events(found.length, 100)) {
      found.push(...more);
      counts.push(more.length);
    }
    assert.deepEqual(found, events);
    assert.ok(counts.length > 1 && counts.every((count) => count * 600_000 <= EVENTS_READ_MAX_BYTES), counts.join());
    assert.equal((await term.events(5, 2)).length, 2);
  });

  it("takes nothing that does not follow the last event", async (t, place) => {
    const { term } = await leading(t, place);
    await term.append([event(1, { key: "a", after: 1 })]);
    for (const revision of [1, 3])
      await assert.rejects(term.append([event(revision, { key: "a", after: 2 })]), /follows/);
    await assert.rejects(term.append([event(2, { key: "a", after: 2 }, { key: "a", after: 3 })]), /once/);
    assert.deepEqual(sorted(await term.load()), { revision: 1, entries: [["a", 1]] });
    await term.append([]);
    await term.append([event(2, { key: "a", before: 1, after: 2 })]);
  });
}

function severalMasters(it: It): void {
  it("writes nothing after it resigned, and leads again", async (t, place) => {
    const { store, term } = await leading(t, place);
    await term.append([event(1, { key: "a", after: 1 })]);
    await term.resign();
    assert.equal((await term.lost).code, "not-leader");
    await refused(term.append([event(2, { key: "a", after: 2 })]), "not-leader");
    await refused(term.forget(1), "not-leader");
    const next = await store.lead(master(1), NEVER);
    assert.ok(next.number > term.number);
    assert.deepEqual(store.leader(), master(1));
    assert.deepEqual(sorted(await next.load()), { revision: 1, entries: [["a", 1]] });
    await refused(term.append([event(2, { key: "a", after: 2 })]), "not-leader");
    await next.append([event(2, { key: "a", before: 1, after: 2 })]);
  });

  it("lets one lead, and the next one when that resigns", async (t, place) => {
    const { term } = await leading(t, place, 1);
    const second = await opened(t, place);
    let hasSecond = false;
    const waiting = second.lead(master(2), NEVER).then((next) => {
      hasSecond = true;
      return next;
    });
    for (let revision = 1; revision <= 5; revision += 1) {
      await term.append([event(revision, { key: "a", after: revision })]);
      assert.equal(hasSecond, false);
    }
    await term.resign();
    const next = await waiting;
    assert.ok(next.number > term.number);
    assert.deepEqual(second.leader(), master(2));
    assert.deepEqual(sorted(await next.load()), { revision: 5, entries: [["a", 5]] });
    await next.append([event(6, { key: "a", before: 5 })]);
  });

  it("ends the wait for the lead when it is told to", async (t, place) => {
    const { term } = await leading(t, place, 1);
    const second = await opened(t, place);
    const ending = new AbortController();
    const waiting = refused(second.lead(master(2), ending.signal), "not-leader");
    await term.append([event(1, { key: "a", after: 1 })]);
    ending.abort();
    await waiting;
    await refused(second.lead(master(2), AbortSignal.abort()), "not-leader");
    await term.append([event(2, { key: "a", before: 1, after: 2 })]);
  });

  it("refuses what an old leader writes that slept through the change, and tells it", async (t, place) => {
    const { store, term } = await leading(t, place, 1);
    await term.append([event(1, { key: "a", after: "by the first" })]);
    const second = await opened(t, place);
    const waiting = second.lead(master(2), NEVER);
    await place.depose?.(store);
    const next = await waiting;
    assert.deepEqual(sorted(await next.load()), { revision: 1, entries: [["a", "by the first"]] });
    await next.append([event(2, { key: "a", before: "by the first", after: "by the second" })]);
    await refused(term.append([event(2, { key: "a", after: "by a ghost" })]), "not-leader");
    await refused(term.append([event(3, { key: "a", after: "by a ghost" })]), "not-leader").catch((thrown: unknown) =>
      assert.match(String(thrown), /follows/),
    );
    await refused(term.forget(2), "not-leader");
    await refused(term.load(), "not-leader");
    assert.equal((await term.lost).code, "not-leader");
    assert.deepEqual(sorted(await next.load()), { revision: 2, entries: [["a", "by the second"]] });
    assert.equal((await next.events(0, 10)).length, 2);
    await next.append([event(3, { key: "a", before: "by the second" })]);
  });
}

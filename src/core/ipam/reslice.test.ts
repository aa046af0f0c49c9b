/**
 * Laws of further slices: whatever is given, drained, taken back, deleted and restarted, nothing has two holders, and
 * nothing is given while it rests.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type AgentRecord, type RestingItem, slicesOf } from "../../model/cluster.ts";
import { type Cidr, cidr, ip, overlaps } from "../../model/ip.ts";
import { RESTING_MAX } from "../../model/limits.ts";
import { type NetworkConfig, prefixesOf } from "../../model/network.ts";
import { agentRecordSchema, restingItemSchema } from "../../model/schemas.ts";
import { Allocator } from "./allocate.ts";
import type { SliceChange } from "./growth.ts";
import { nameOf } from "./slices.ts";

const NETWORK: NetworkConfig = {
  vtepSubnet: cidr("44.128.0.0/27"),
  vtepMacOui: "70:B3:D5:00:00:00",
  overlays: [
    {
      name: "dcos",
      subnet: cidr("9.0.0.0/25"),
      prefix: 27,
      more: [{ subnet: cidr("9.1.0.0/26"), prefix: 28 }],
      enabled: true,
    },
    { name: "both", subnet: cidr("9.2.0.0/25"), prefix: 27, subnet6: cidr("fd01:b::/78"), prefix6: 80, enabled: true },
  ],
};
const BOTH = { allocateSubnet: true, mesosBridge: true, dockerBridge: true };
const registrant = (n: number) => ({ id: `agent-${n}`, ip: ip(`10.0.0.${n}`), hostname: `h${n}`, networkConfig: BOTH });
const dateAt = (seconds: number) => `${new Date(seconds * 1_000).toISOString().slice(0, 19)}Z`;
const REST = 100;

function registered(allocator: Allocator, n: number, known?: AgentRecord): AgentRecord {
  const { record } = allocator.register(registrant(n), known);
  assert.ok(record !== undefined);
  return record;
}

const grow = (network: string, family: 4 | 6 = 4): SliceChange => ({ type: "grow", network, family });
const on = (type: "drain" | "remove" | "resume", network: string, slice: string): SliceChange => ({
  type,
  network,
  slice: cidr(slice),
});

test("a further slice is the lowest free one of the first space, then of the next", () => {
  const allocator = new Allocator(NETWORK);
  let record = registered(allocator, 1);
  const { made } = allocator.reslice(registered(allocator, 2), [], "");
  assert.deepEqual(made, []);
  for (let n = 0; n < 3; n++) record = allocator.reslice(record, [grow("dcos")], "").record;
  assert.deepEqual(slicesOf(record.overlays[0] as never), [
    { subnet: "9.0.0.0/27" },
    { subnet: "9.0.0.64/27" },
    { subnet: "9.0.0.96/27" },
    { subnet: "9.1.0.0/28" },
  ]);
  assert.deepEqual(record.overlays[0]?.mesosBridge, { name: "m-dcos", ip: "9.0.0.0/28" }, "as before");
  for (let n = 0; n < 3; n++) record = allocator.reslice(record, [grow("dcos")], "").record;
  assert.ok(!allocator.hasSlice("dcos", 4));
  const none = allocator.reslice(record, [grow("dcos")], "");
  assert.deepEqual([none.record, none.made, none.shortages[0]?.network], [record, [], "dcos"]);
  assert.ok(allocator.hasSlice("both", 6));
  assert.deepEqual(agentRecordSchema.parse(JSON.parse(JSON.stringify(record))), record);
});

test("what is given back rests, over a restart, until its time is over and its holder has heard of it", () => {
  const allocator = new Allocator(NETWORK);
  const first = registered(allocator, 1);
  const { record } = allocator.reslice(first, [grow("dcos")], "");
  const drained = allocator.reslice(record, [on("drain", "dcos", "9.0.0.32/27")], "").record;
  assert.deepEqual(drained.overlays[0]?.more, [{ subnet: "9.0.0.32/27", draining: true }]);
  assert.deepEqual(allocator.reslice(drained, [on("resume", "dcos", "9.0.0.32/27")], "").record, record);
  const gone = allocator.reslice(drained, [on("remove", "dcos", "9.0.0.32/27")], dateAt(REST));
  assert.deepEqual(gone.record, first);
  const resting = allocator.resting();
  assert.deepEqual(resting, [{ item: "9.0.0.32/27", network: "dcos", until: dateAt(REST), agent: "agent-1" }]);
  assert.deepEqual(
    allocator.usage().map(({ used, resting = 0n }) => [used, resting]),
    [
      [1n, 0n],
      [1n, 1n],
      [0n, 0n],
      [1n, 0n],
      [1n, 0n],
    ],
  );
  const stored = restingItemSchema.array().parse(JSON.parse(JSON.stringify(resting)));
  const restarted = Allocator.restore(NETWORK, [first], stored);
  assert.ok(!restarted.wake(dateAt(REST - 1)));
  assert.ok(!restarted.wake(dateAt(REST), () => false), "its holder may still use it");
  assert.equal(registered(restarted, 2).overlays[0]?.subnet, "9.0.0.64/27");
  assert.ok(restarted.wake(dateAt(REST)));
  assert.deepEqual(restarted.resting(), []);
  assert.equal(registered(restarted, 3).overlays[0]?.subnet, "9.0.0.32/27");
});

test("a slice is not given back while as much rests as may", () => {
  const network = { ...NETWORK, overlays: [{ name: "large", subnet: cidr("9.0.0.0/8"), prefix: 28, enabled: true }] };
  const resting = Array.from({ length: RESTING_MAX }, (_, n) => ({
    item: cidr(`9.${10 + (n >> 12)}.${(n >> 4) & 255}.${(n & 15) * 16}/28`),
    network: "large",
    until: dateAt(REST),
  }));
  const allocator = Allocator.restore(network, [], resting);
  const grown = allocator.reslice(registered(allocator, 1), [grow("large")], "").record;
  const remove = [on("remove", "large", "9.0.0.16/28")];
  const refused = allocator.reslice(grown, remove, dateAt(2 * REST));
  assert.deepEqual([refused.record, refused.made, allocator.resting().length], [grown, [], RESTING_MAX]);
  assert.ok(allocator.wake(dateAt(REST)));
  assert.equal(allocator.reslice(grown, remove, dateAt(2 * REST)).made.length, 1);
});

test("what rests in a pool that is gone is forgotten, and a record is right about what it holds", () => {
  const record = registered(new Allocator(NETWORK), 1);
  const resting: RestingItem[] = [
    { item: cidr("9.0.0.0/27"), network: "dcos", until: dateAt(REST) },
    { item: cidr("9.9.0.0/27"), network: "dcos", until: dateAt(REST) },
    { item: cidr("9.0.0.32/27"), network: "gone", until: dateAt(REST) },
  ];
  assert.deepEqual(Allocator.restore(NETWORK, [record], resting).resting(), []);
});

test("an undone step leaves no trace", () => {
  const allocator = new Allocator(NETWORK);
  const record = allocator.reslice(registered(allocator, 1), [grow("dcos"), grow("both", 6)], "").record;
  const before = JSON.stringify(allocator.usage().map(({ used }) => String(used)));
  const draining = allocator.reslice(record, [on("drain", "dcos", "9.0.0.32/27")], "").record;
  allocator.reslice(draining, [on("remove", "dcos", "9.0.0.32/27"), grow("dcos"), grow("both")], "x").undo();
  assert.equal(JSON.stringify(allocator.usage().map(({ used }) => String(used))), before);
  assert.deepEqual(allocator.resting(), []);
});

// ---- laws ----------------------------------------------------------------------------------------------------------

const step = fc.record({
  n: fc.integer({ min: 1, max: 4 }),
  action: fc.constantFrom("register", "grow", "grow", "remove", "remove", "fail", "delete", "restart", "wait", "heard"),
  network: fc.constantFrom("dcos", "both"),
  family: fc.constantFrom<4 | 6>(4, 4, 6),
  pick: fc.nat(5),
  seconds: fc.nat(60),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

class History {
  #allocator = new Allocator(NETWORK);
  readonly #records = new Map<string, AgentRecord>();
  /** Given back by living agents: until when, and by whom. */
  readonly #resting = new Map<Cidr, { readonly until: number; readonly agent: string }>();
  readonly #deaf = new Set<string>();
  #now = 0;

  do({ n, action, network, family, pick, seconds }: Step): void {
    const id = `agent-${n}`;
    const known = this.#records.get(id);
    this.#allocator.wake(dateAt(this.#now), (agent) => !this.#deaf.has(agent));
    if (action === "wait") this.#now += seconds;
    else if (action === "heard") this.#deaf.delete(id);
    else if (action === "restart") this.#restart();
    else if (action === "register") this.#put(this.#allocator.register(registrant(n), known).record);
    else if (known === undefined) return;
    else if (action === "delete") this.#delete(known);
    else if (action === "grow") this.#put(this.#reslice(known, grow(network, family)).record);
    else this.#giveBack(known, network, pick, action === "fail");
    this.#check();
  }

  #reslice(record: AgentRecord, ...changes: SliceChange[]) {
    return this.#allocator.reslice(record, changes, dateAt(this.#now + REST));
  }

  #restart(): void {
    const records = JSON.parse(JSON.stringify([...this.#records.values()])) as AgentRecord[];
    const resting = JSON.parse(JSON.stringify(this.#allocator.resting())) as RestingItem[];
    this.#allocator = Allocator.restore(NETWORK, records, resting);
  }

  #delete(record: AgentRecord): void {
    this.#allocator.release(record);
    this.#records.delete(record.id);
  }

  #giveBack(record: AgentRecord, network: string, pick: number, fails: boolean): void {
    const slices = record.overlays.filter(({ info }) => info.name === network).flatMap(slicesOf);
    const slice = slices[pick % Math.max(1, slices.length)];
    const name = slice && nameOf(slice);
    if (slice === undefined || name === undefined || slices.length < 2) return;
    const result = this.#reslice(record, on("drain", network, name), on("remove", network, name));
    if (fails) result.undo();
    if (fails) return;
    for (const prefix of prefixesOf(slice)) this.#resting.set(prefix, { until: this.#now + REST, agent: record.id });
    this.#deaf.add(record.id);
    this.#put(result.record);
  }

  /** What is new in it was at nobody's, and had rested. */
  #put(record: AgentRecord | undefined): void {
    if (record === undefined) return;
    const had = new Set(this.#records.get(record.id)?.overlays.flatMap(prefixesOf));
    for (const prefix of record.overlays.flatMap(prefixesOf)) {
      const rest = this.#resting.get(prefix);
      if (had.has(prefix) || rest === undefined) continue;
      assert.ok(rest.until <= this.#now, `${prefix} is given at ${this.#now} and rests until ${rest.until}`);
      assert.ok(!this.#deaf.has(rest.agent), `${prefix} is given, and ${rest.agent} may use it`);
      this.#resting.delete(prefix);
    }
    this.#records.set(record.id, record);
  }

  #check(): void {
    const prefixes = [...this.#records.values()].flatMap(({ overlays }) => overlays.flatMap(prefixesOf));
    prefixes.forEach((a, i) => {
      for (const b of prefixes.slice(i + 1)) assert.ok(!overlaps(a, b), `${a} and ${b}`);
    });
    const used = this.#allocator.usage().reduce((sum, usage) => sum + usage.used, 0n);
    assert.equal(used, BigInt(prefixes.length + this.#records.size));
  }
}

test("no history gives one item twice, nor one that rests", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const history = new History();
      for (const each of steps) history.do(each);
    }),
    { numRuns: 300 },
  );
});

/**
 * Plausible bugs of gossip, one a row: how the source would look with it, and a run that finds it. Each is put into a copy
 * of the source (seeded-bugs.test.ts). A `find` that is not there exactly once is an error, so that no row can rot.
 */
export interface SeededBug {
  readonly name: string;
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  /** `npm run sim -- --seed …`, with what follows. */
  readonly seed: number;
  readonly hosts?: number;
  readonly wire?: boolean;
  /** Of sim/scenarios; else steps by chance. */
  readonly scenario?: string;
}

export const SEEDED_BUGS: readonly SeededBug[] = [
  {
    name: "the hash of the state is not checked",
    file: "src/core/gossip/owner-state.ts",
    find: "if (high !== newest.stateHigh || low !== newest.stateLow) return undefined;",
    replace: "",
    seed: 4,
  },
  {
    name: "a delta is applied over a gap",
    file: "src/core/gossip/records.ts",
    find: "known.gen === gen && from <= known.seq);",
    replace: "known.gen === gen);",
    seed: 1,
  },
  {
    name: "an answer to who has nothing is taken for one that goes on",
    file: "src/core/gossip/staging.ts",
    find: "if ((entries.at(-1)?.floor ?? 0) > have) return false;",
    replace: "",
    seed: 5,
  },
  {
    name: "traces below the floor stay at who receives it",
    file: "src/core/gossip/owner-state.ts",
    find: "if (newest.floor > (isOnTop ? before.floor : 0))",
    replace: "if (newest.floor < 0)",
    seed: 2,
  },
  {
    name: "only traces of former changes are forgotten",
    file: "src/core/gossip/owner-state.ts",
    find: "for (const entry of map.values())\n      if (entry.seq <= newest.floor && entry.value === undefined) {",
    replace:
      "for (const entry of before?.entries.values() ?? [])\n      if (entry.seq <= newest.floor && entry.value === undefined && map.get(entry.key) === entry) {",
    seed: 2,
  },
  {
    name: "a word in its own hand that it does not know is ignored",
    file: "src/core/gossip/judge.ts",
    find: "this.#ctx.lifecycle.jump(head.gen);",
    replace: "",
    seed: 16,
  },
  {
    name: "old own records make it jump each time",
    file: "src/core/gossip/records.ts",
    find: "if (!isNewer(delta.gen, delta.to, mine.gen, mine.seq) || newest === undefined) return;",
    replace: "if (newest === undefined) return;",
    seed: 1,
  },
  {
    name: "a link that the other side does not hold is kept",
    file: "src/core/gossip/prober.ts",
    find: "if (link !== undefined && !isLink && link.since < probe.startedAt) links.drop(from, false);",
    replace: "",
    seed: 3,
  },
  {
    name: "a comparison takes deaths over",
    file: "src/core/gossip/sync.ts",
    find: "const isDoubtful = theirs.status === DEAD && status === ALIVE && head.id !== this.#ctx.self.id;",
    replace: "const isDoubtful = false;",
    seed: 1,
    scenario: "short-partition",
  },
  {
    name: "local health never recovers",
    file: "src/core/gossip/local-health.ts",
    find: "this.#score = Math.max(0, this.#score - 1);",
    replace: "",
    seed: 1,
  },
  {
    name: "a head of an expelled member is admitted",
    file: "sim/member.ts",
    find: "(this.refused.has(head.id) ? undefined : trust.publicKeyOf(head))",
    replace: "trust.publicKeyOf(head)",
    seed: 3,
  },
  {
    name: "a head's signature is not verified",
    file: "src/core/gossip/judge.ts",
    find: "    if (!this.#ctx.verify(publicKey, headBytes(head), head.signature)) {",
    replace: "    if (publicKey.length === 0) {",
    seed: 3,
  },
  {
    name: "testimonies are not verified",
    file: "src/core/gossip/judge.ts",
    find: "death.testimonies.every((testimony) => this.isTestimony(testimony, death.id, death));",
    replace: "death.testimonies.length >= 0;",
    seed: 3,
  },
  {
    name: "one witness counts twice",
    file: "src/core/gossip/judge.ts",
    find: "witnesses.size !== death.testimonies.length || witnesses.has",
    replace: "witnesses.has",
    seed: 3,
  },
  {
    name: "the accuser is its own witness",
    file: "src/core/gossip/judge.ts",
    find: "witnesses.size !== death.testimonies.length || witnesses.has(death.accuser)",
    replace: "witnesses.size !== death.testimonies.length",
    seed: 3,
  },
  {
    name: "entries are not verified",
    file: "src/core/gossip/records.ts",
    find: "if (publicKey === undefined) return false;\n    return entries.every",
    replace: "if (publicKey !== undefined) return true;\n    return entries.every",
    seed: 4,
  },
  {
    name: "control waits with bulk",
    file: "src/core/gossip/outbox.ts",
    find: "    const waiting = { message, bytes: messageBytes(message) };\n    const before",
    replace:
      '    if (message.type !== "join") return this.bulk(to, message);\n    const waiting = { message, bytes: messageBytes(message) };\n    const before',
    seed: 1,
  },
  {
    name: "the dead are never tried again",
    file: "src/core/gossip/prober.ts",
    find: 'if (member !== undefined) this.probe(member.head.id, "heal", beliefOf(member));',
    replace: "",
    seed: 1,
    scenario: "partition",
  },
  {
    name: "the heal is tried only by who has no neighbour",
    file: "src/core/gossip/prober.ts",
    find: "const member = this.#ctx.table.someDead(this.#ctx.fraction());",
    replace: "const member = this.#ctx.links.size > 0 ? undefined : this.#ctx.table.someDead(this.#ctx.fraction());",
    seed: 1,
    scenario: "partition",
  },
  {
    name: "the digest keeps what a member was before",
    file: "src/core/gossip/table.ts",
    find: "    else this.#toggle(member.head.id, before.hash);",
    replace: "",
    seed: 1,
  },
  {
    name: "the digest keeps the records of the expelled",
    file: "src/core/gossip/table.ts",
    find: "    if (state !== undefined) this.#toggle(id, state.hash);",
    replace: "",
    seed: 3,
  },
  {
    name: "records of the expelled stay",
    file: "src/core/gossip/table.ts",
    find: "    this.#states[number] = undefined;",
    replace: "",
    seed: 3,
  },
  {
    name: "gens are written in 48 bits",
    file: "src/core/gossip/bytes.ts",
    find: "return this.u8(Math.floor(value / 2 ** 48)).u48(value % 2 ** 48);",
    replace: "return this.u8(0).u48(value % 2 ** 48);",
    seed: 1,
    wire: true,
  },
  {
    name: "a gen is used twice",
    file: "src/core/gossip/lifecycle.ts",
    find: '    this.#ctx.emit({ type: "gen", gen: this.#head.gen });',
    replace: "",
    seed: 1,
  },
  {
    name: "a life without records says nothing",
    file: "src/core/gossip/publisher.ts",
    find: "if (this.#state.seq === 0) this.#append([[NOTHING, undefined]]);",
    replace: "",
    seed: 1,
  },
  {
    name: "solo accusations take eager links only",
    file: "src/core/gossip/judge.ts",
    find: "if (link.id !== from) this.#ctx.push",
    replace: "if (link.id !== from && link.isEager) this.#ctx.push",
    seed: 2,
    scenario: "two-left",
  },
  {
    name: "nobody seconds who accuses late",
    file: "src/core/gossip/judge.ts",
    find: "      this.#second(from, death, member);\n",
    replace: "",
    seed: 1,
    scenario: "two-left",
  },
  {
    name: "two strangers ask each other for ever",
    file: "src/core/gossip/gossip.ts",
    find: 'if (isSilent || messages.some(({ type }) => type === "member")) return;',
    replace: 'if (isSilent && messages.every(({ type }) => type !== "member" && type !== "pull")) return;',
    seed: 3,
  },
  {
    name: "what was offered is never pulled",
    file: "src/core/gossip/broadcast.ts",
    find: "    const ms = this.#ctx.timing.pullFirstMs + this.#ctx.outbox.delayMs;",
    replace: "    const ms = 1e12;",
    seed: 1,
  },
  {
    name: "nothing is offered",
    file: "src/core/gossip/broadcast.ts",
    find: '      this.#ctx.push(link.id, { type: "ihave", items: offers.slice(at, at + GOSSIP_IHAVE_MAX) });',
    replace: "      void at;",
    seed: 2,
  },
  {
    name: "nobody compares",
    file: "src/core/gossip/sync.ts",
    find: "      if (id !== undefined) this.with(id);",
    replace: "      void id;",
    seed: 6,
  },
  {
    name: "nobody is told of a goodbye",
    file: "src/core/gossip/gossip.ts",
    find: "    this.#ctx.outbox.flushAll();\n",
    replace: "",
    seed: 3,
  },
  {
    name: "a jump keeps the old head",
    file: "src/core/gossip/lifecycle.ts",
    find: "    this.#say(this.#signed(gen, 0, this.#head.hasLeft));",
    replace: "    this.#head = this.#signed(gen, 0, this.#head.hasLeft);",
    seed: 3,
  },
  {
    name: "a jump keeps the old records",
    file: "src/core/gossip/lifecycle.ts",
    find: "    if (!this.#isJoining) this.#ctx.records.publish(delta, this.#publisher.state);",
    replace: "    void delta;",
    seed: 10,
  },
  {
    name: "a joiner publishes nothing of before",
    file: "src/core/gossip/lifecycle.ts",
    find: "    this.#ctx.records.publish(delta, this.#publisher.state);\n  }\n\n  #someone",
    replace: "    void delta;\n  }\n\n  #someone",
    seed: 1,
  },
  {
    name: "pieces of a longer value stay",
    file: "src/core/gossip/publisher.ts",
    find: "for (let n = count; this",
    replace: "for (let n = 1e9; this",
    seed: 1,
  },
  {
    name: "links have no bound",
    file: "src/core/gossip/links.ts",
    find: "if (this.#links.size >= timing.degreeMax) {",
    replace: "if (this.#links.size > 1e9) {",
    seed: 1,
    hosts: 16,
  },
  {
    name: "who left is not let go of",
    file: "src/core/gossip/judge.ts",
    find: "    if (head.hasLeft) this.#ctx.links.drop(head.id, false);\n",
    replace: "",
    seed: 3,
  },
];

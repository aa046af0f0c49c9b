/**
 * Gossip under trouble: many small clusters, each through phases of chaos, with all invariants watched (sim/). A seed that
 * fails prints the command that replays it.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { oneWay, settled } from "../../sim/measure.ts";
import type { Outcome } from "../../sim/outcome.ts";
import { randomScenario, SMALL } from "../../sim/random-scenario.ts";
import { parseScenario } from "../../sim/scenario.ts";
import { simulate } from "../../sim/simulation.ts";

const SEEDS = 200;
/** Every so many of them go through the real encoding, which takes three times as long. */
const WIRE_EVERY = 4;
/** One phase instead of the three of `npm run sim`: 200 of them are to take less than a minute. */
const SHAPE = { ...SMALL, phases: 1 };

function membersOf(seed: number): number {
  return 5 + (seed % 5);
}

function run(seed: number, wire = seed % WIRE_EVERY === 0): Outcome {
  return simulate({ scenario: randomScenario(seed, { ...SHAPE, members: membersOf(seed) }), seed, wire });
}

function scenarioOf(name: string) {
  const { scenario, problems } = parseScenario(
    readFileSync(`${import.meta.dirname}/../../sim/scenarios/${name}`, "utf8"),
  );
  assert.ok(scenario !== undefined, problems?.join("\n"));
  return scenario;
}

describe("gossip, simulated", () => {
  it(`keeps all invariants through ${SEEDS} seeds of chaos`, () => {
    for (let seed = 1; seed <= SEEDS; seed += 1) {
      const { violation, rests } = run(seed);
      const replay = `npm run sim -- --seed ${seed} --hosts ${membersOf(seed)} --phases ${SHAPE.phases}${seed % WIRE_EVERY === 0 ? " --wire" : ""}`;
      assert.equal(violation, undefined, `${violation?.invariant}: ${violation?.problem}\n${replay}`);
      assert.equal(rests, SHAPE.phases, "each quiet was reached, so each invariant was asked");
    }
  });

  it("replays a seed exactly, and another seed is another run", () => {
    const [one, again, other] = [run(7), run(7), run(8)];
    assert.equal(one.fingerprint, again.fingerprint);
    assert.deepEqual(one.lines, again.lines);
    assert.notEqual(one.fingerprint, other.fingerprint);
  });

  it("is the same run with the wire and without", () => {
    assert.deepEqual(run(9, true).lines, run(9, false).lines);
  });

  it("tells what happened: one member dies, and comes back without its disk", () => {
    const lines: string[] = [];
    const scenario = scenarioOf("lost-disk.json");
    const { violation } = simulate({ scenario, seed: 1, wire: true, print: (line) => lines.push(line) });
    assert.equal(violation, undefined, violation?.problem);
    assert.ok(lines.every((line) => line.length <= 80));
    assert.deepEqual(lines, GOLDEN);
  });

  it("keeps both sides whole when one of them is deaf to the other", () => {
    const { within, across } = oneWay(settled(40, 1), 20);
    assert.equal(across, 2 * 20 * 20, "each side misses the other one");
    assert.equal(within, 0, "and nobody is buried by those who hear nothing");
  });

  for (const name of [
    "all-seeds-but-one.json",
    "crowded.json",
    "deaf-half.json",
    "empty-life.json",
    "islands.json",
    "large-owners.json",
    "partition.json",
    "partition-with-changes.json",
    "pauses.json",
    "short-partition.json",
    "single-ways.json",
    "squeezed.json",
    "two-left.json",
  ])
    it(`stands ${name.replace(".json", "").replaceAll("-", " ")}`, () => {
      const { violation } = simulate({ scenario: scenarioOf(name), seed: 1, wire: true });
      assert.equal(violation, undefined, `${violation?.invariant}: ${violation?.problem}`);
    });
});

describe("a scenario from a file", () => {
  const cases: readonly (readonly [string, string, readonly RegExp[]])[] = [
    ["no JSON", "{", [/no JSON/]],
    ["several problems", `{"members": 0, "steps": [{"at": 1, "do": "fly"}]}`, [/members/, /steps\.0/]],
    [
      "a step back in time",
      `{"members": 3, "steps": [{"at": 5, "do": "join"}, {"at": 1, "do": "quiet", "dead": "stay"}]}`,
      [/steps\.1\.at: 1 comes before 5/],
    ],
    ["nothing that checks", `{"members": 3, "steps": [{"at": 5, "do": "join"}]}`, [/last one must be "quiet"/]],
    [
      "a member that is not there",
      `{"members": 3, "steps": [{"at": 1, "do": "restart", "member": "m3"}, {"at": 2, "do": "quiet", "dead": "stay"}]}`,
      [/steps\.0\.member: there is no m3/],
    ],
    ["a word too many", `{"members": 3, "steps": [{"at": 2, "do": "quiet", "dead": "stay", "why": 1}]}`, [/why/]],
  ];
  for (const [name, text, expected] of cases)
    it(`with ${name} is refused, one line for each problem`, () => {
      const { problems = [] } = parseScenario(text);
      assert.equal(problems.length, expected.length, problems.join("\n"));
      for (const [n, pattern] of expected.entries()) assert.match(problems[n] as string, pattern);
    });
});

/** Times are virtual; whoever changes the protocol, or its timing, looks whether the story is still a good one. */
const GOLDEN: readonly string[] = [
  "    1.663 s  m1   has joined, knows 5",
  "    1.800 s  m4   has joined, knows 5",
  "    2.236 s  m0   has joined, knows 5",
  "    2.902 s  m3   has joined, knows 5",
  "    3.141 s  m2   has joined, knows 5",
  "    5.000 s  m3   <- publish key web bytes 400",
  "    7.000 s  m3   <- crash disk lost",
  "    7.520 s  m4   suspects m3",
  "    7.661 s  m2   suspects m3",
  "    7.783 s  m1   suspects m3",
  "    7.960 s  m4   accuses m3, 3 testimonies",
  "   14.000 s  m3   <- restart",
  "   14.008 s  m3   begins anew: another life of it spoke",
  "   14.015 s  m3   has joined, knows 4",
  "   14.026 s  m1   reached m3 again",
  "   14.028 s  m0   reached m3 again",
  "   14.050 s  m1   reached m3 again",
  "   22.000 s  --   <- quiet dead stay",
  "   77.000 s  --   <- all 18 invariants hold, 5 members",
];

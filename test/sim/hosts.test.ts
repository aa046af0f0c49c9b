/**
 * Whole hosts under trouble: gossip, assignments that masters sign, kernels and containers, over many seeds of chaos
 * (sim/hosts). A seed that fails prints the command that replays it.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Outcome } from "../../sim/outcome.ts";
import { mastersOf, randomScenario, SMALL } from "../../sim/random-scenario.ts";
import { parseScenario, type Scenario } from "../../sim/scenario.ts";
import { simulate } from "../../sim/simulation.ts";

const SEEDS = 60;
/** One phase instead of the three of `npm run sim`: all of them are to take less than 40 s. */
const SHAPE = { ...SMALL, phases: 1 };

function membersOf(seed: number): number {
  return 5 + (seed % 5);
}

function run(seed: number, wire = false): Outcome {
  const members = membersOf(seed);
  const scenario = randomScenario(seed, { ...SHAPE, members, masters: mastersOf(members) });
  return simulate({ scenario, seed, wire });
}

/** Three hosts, two masters, and these steps before the quiet. */
function scenarioOf(steps: readonly object[], dead: "restart" | "stay" = "restart"): Scenario {
  const text = { name: "told", members: 5, masters: 2, steps: [...steps, { at: 20_000, do: "quiet", dead }] };
  const { scenario, problems } = parseScenario(JSON.stringify(text));
  assert.ok(scenario !== undefined, problems?.join("\n"));
  return scenario;
}

describe("whole hosts, simulated", () => {
  it(`keep all invariants through ${SEEDS} seeds of chaos`, () => {
    for (let seed = 1; seed <= SEEDS; seed += 1) {
      const { violation, rests } = run(seed);
      const replay = `npm run sim -- --seed ${seed} --hosts ${membersOf(seed)} --phases ${SHAPE.phases}`;
      assert.equal(violation, undefined, `${violation?.invariant}: ${violation?.problem}\n${replay}`);
      assert.equal(rests, SHAPE.phases, "each quiet was reached, so each invariant was asked");
    }
  });

  it("replays a seed exactly, with the wire and without, and another seed is another run", () => {
    const [one, again, wired, other] = [run(7), run(7), run(7, true), run(8)];
    assert.equal(one.fingerprint, again.fingerprint);
    assert.deepEqual(one.lines, again.lines);
    assert.deepEqual(wired.lines, one.lines);
    assert.notEqual(one.fingerprint, other.fingerprint);
  });

  const stories: readonly (readonly [string, readonly object[], ("restart" | "stay")?])[] = [
    [
      "an agent that is removed, let in again, and whose old words are repeated",
      [
        { at: 1_000, do: "expel", member: "m4" },
        { at: 4_000, do: "readmit", member: "m4" },
        { at: 9_000, do: "lie", member: "m3", kind: "removed" },
        { at: 10_000, do: "floor" },
        { at: 16_000, do: "lie", member: "m3", kind: "removed" },
      ],
    ],
    [
      "a host that moves while another one does not run",
      [
        { at: 1_000, do: "crash", member: "m3", disk: "kept" },
        { at: 3_000, do: "move", member: "m4" },
        { at: 12_000, do: "restart", member: "m3" },
      ],
    ],
    ["a new machine at the address of an old one", [{ at: 1_000, do: "replace", member: "m4" }]],
    [
      "hosts that boot while there is no master",
      [
        { at: 1_000, do: "masters", are: "down" },
        { at: 3_000, do: "reboot", member: "m3" },
        { at: 3_500, do: "reboot", member: "m4" },
        { at: 5_000, do: "crash", member: "m2", disk: "kept" },
        { at: 9_000, do: "restart", member: "m2" },
      ],
      "stay",
    ],
  ];
  for (const [name, steps, dead] of stories)
    it(`stand ${name}`, () => {
      const { violation, rests } = simulate({ scenario: scenarioOf(steps, dead), seed: 1, wire: true });
      assert.equal(violation, undefined, `${violation?.invariant}: ${violation?.problem}`);
      assert.equal(rests, 1);
    });
});

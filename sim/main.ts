/**
 * `npm run sim -- [--hosts N] [--seed S] [--scenario FILE] [--phases N] [--soak MINUTES] [--wire] [--no-kernels]`: runs a
 * simulated cluster through trouble and prints what happened. Exit status 0: all invariants held; 1: one did not; 2: the arguments are wrong.
 */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import type { Outcome } from "./outcome.ts";
import { mastersOf, randomScenario, SMALL, smallSize } from "./random-scenario.ts";
import { parseScenario, type Scenario } from "./scenario.ts";
import { simulate } from "./simulation.ts";
import { fold } from "./transcript.ts";

const USAGE = `usage: npm run sim -- [--hosts N] [--seed S] [--scenario FILE]
                   [--phases N] [--seeds N | --soak MINUTES] [--wire]
                   [--kernels | --no-kernels]

  --hosts N        members of the cluster; without: 5 to 9, by the seed
  --seed S         what all chance comes from; without: 1
  --scenario FILE  steps from a JSON file instead of random ones (sim/scenarios)
  --phases N       of chaos, each with a quiet period after it; without: 3
  --seeds N        so many seeds from S on, one line each
  --soak MINUTES   seed after seed from S on, one line each, for so long
  --wire           packets go through the real encoding
  --kernels        each member but one or two masters is a whole host: assignments
                   that masters sign, a kernel, containers. Without a word: up
                   to 50 hosts yes, above no; of a file: what its "masters" says
  --no-kernels     gossip alone`;
/** Of so many hosts all kernels are simulated unless it is said. */
const KERNELS_HOSTS_MAX = 50;
const HOSTS_MAX = 1_000;
const PHASES_MAX = 1_000;

interface Options {
  readonly hosts: number | undefined;
  readonly phases: number | undefined;
  readonly seed: number;
  readonly file: string | undefined;
  readonly scenario: Scenario | undefined;
  readonly seeds: number | undefined;
  readonly soakMinutes: number | undefined;
  readonly wire: boolean;
  readonly kernels: boolean | undefined;
}

/** @returns what was asked for, or what is wrong with it */
function optionsFrom(argv: readonly string[]): Options | readonly string[] {
  const problems: string[] = [];
  const number = (name: string, text: string | undefined, least: number, most: number) => {
    if (text === undefined) return undefined;
    const value = Number(text);
    if (text.trim() !== "" && value >= least && value <= most) return value;
    problems.push(`--${name} ${text}: a number from ${least} to ${most} is needed`);
    return undefined;
  };
  try {
    const string = { type: "string" } as const;
    const { values } = parseArgs({
      args: [...argv],
      allowNegative: true,
      options: {
        hosts: string,
        phases: string,
        seed: string,
        scenario: string,
        seeds: string,
        soak: string,
        wire: { type: "boolean" },
        kernels: { type: "boolean" },
      },
    });
    const hosts = number("hosts", values.hosts, 3, HOSTS_MAX);
    const phases = number("phases", values.phases, 1, PHASES_MAX);
    const seed = number("seed", values.seed, 0, 2 ** 31) ?? 1;
    const seeds = number("seeds", values.seeds, 1, 1_000_000);
    const soakMinutes = number("soak", values.soak, 0, 100_000);
    const parsed = values.scenario === undefined ? undefined : parseScenario(readFileSync(values.scenario, "utf8"));
    problems.push(...(parsed?.problems ?? []).map((problem) => `${values.scenario}: ${problem}`));
    if (problems.length > 0) return problems;
    const { scenario: file, wire = false, kernels } = values;
    if (file !== undefined && kernels !== undefined) return ["--kernels: a scenario's file says that by its masters"];
    return { hosts, phases, seed, file, scenario: parsed?.scenario, seeds, soakMinutes, wire, kernels };
  } catch (error) {
    return [...problems, (error as Error).message];
  }
}

function runOne(
  { hosts, phases, scenario, wire, kernels }: Options,
  seed: number,
  print?: (line: string) => void,
): Outcome {
  const members = hosts ?? smallSize(seed);
  const hasKernels = kernels ?? members <= KERNELS_HOSTS_MAX;
  const shape = {
    ...SMALL,
    members,
    phases: phases ?? SMALL.phases,
    ...(hasKernels && { masters: mastersOf(members) }),
  };
  const made = scenario ?? randomScenario(seed, shape);
  return simulate({ scenario: made, seed, wire, ...(print !== undefined && { print }) });
}

/** The command that makes the same run again. */
function replay({ hosts, phases, file, wire, kernels }: Options, seed: number): string {
  const words = [`--seed ${seed}`];
  if (hosts !== undefined) words.unshift(`--hosts ${hosts}`);
  if (phases !== undefined) words.push(`--phases ${phases}`);
  if (file !== undefined) words.push(`--scenario ${file}`);
  if (wire) words.push("--wire");
  if (kernels !== undefined) words.push(kernels ? "--kernels" : "--no-kernels");
  return `npm run sim -- ${words.join(" ")}`;
}

function report(options: Options, seed: number, { violation, ms, rests, fingerprint }: Outcome): void {
  const ran = `seed ${seed}: ${Math.round(ms / 1_000)} s, ${rests} quiet periods, run ${fingerprint}`;
  if (violation === undefined) {
    console.log(`${ran}: all held`);
    return;
  }
  console.log(ran);
  for (const line of [
    `VIOLATED at ${(violation.at / 1_000).toFixed(3)} s: ${violation.invariant}`,
    `  ${violation.problem}`,
    `  replay: ${replay(options, seed)}`,
  ])
    for (const part of fold(line)) console.log(part);
}

/** @returns the exit status */
function main(argv: readonly string[]): number {
  const options = optionsFrom(argv);
  if (!("seed" in options)) {
    for (const problem of options) console.error(problem);
    console.error(USAGE);
    return 2;
  }
  const { seed: first, seeds, soakMinutes } = options;
  if (seeds === undefined && soakMinutes === undefined) {
    const outcome = runOne(options, first, console.log);
    report(options, first, outcome);
    return outcome.violation === undefined ? 0 : 1;
  }
  const end = performance.now() + (soakMinutes ?? 0) * 60_000;
  const isDue = (seed: number) =>
    seed === first || (seeds === undefined ? performance.now() < end : seed < first + seeds);
  for (let seed = first; isDue(seed); seed += 1) {
    const outcome = runOne(options, seed);
    report(options, seed, outcome);
    if (outcome.violation !== undefined) return 1;
  }
  return 0;
}

process.exitCode = main(process.argv.slice(2));

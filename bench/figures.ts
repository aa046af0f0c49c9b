/**
 * The common form of all benchmarks: options, alternation of the two sides, medians, and one line a figure.
 *
 * A figure says what was promised and whether it was reached. A target that is missed is printed as missed and the
 * run still ends with status 0: a benchmark reports, it does not gate. A benchmark that cannot run throws. What it made
 * outside of this process it hands to `atEnd`, so that Ctrl-C leaves nothing behind either.
 */
import { constants, cpus, release } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

const SIGNAL_DELAY_MS = 50;

export interface Measured {
  /** What was measured, as in docs/benchmarks.md: `program.1000`. */
  readonly figure: string;
  readonly unit: string;
  readonly ours: number | null;
  /** The same of the named peer, measured in the same run; null where there is none. */
  readonly peer: number | null;
  /** Of ours to the peer's, where that is not one median divided by the other (see `medianRatio`). */
  readonly ratio?: number;
  /** `ours<=20`, `ratio>=1.1` (ours divided by peer), or empty for a figure that is only a reference. */
  readonly target: string;
}

export interface Run {
  /** End in under a minute: fewer rounds. */
  readonly quick: boolean;
  figure(measured: Measured): void;
  /** What was given as `--option N`. */
  number(option: string, otherwise: number): number;
}

const cleanups: (() => void)[] = [];

/**
 * Has `cleanup` called when this process ends, by itself, by an error or by a signal; what was handed in last comes
 * first. It cannot wait for anything, and what it removes may be gone already.
 */
export function atEnd(cleanup: () => void): void {
  cleanups.unshift(cleanup);
}

function cleanUp(): void {
  for (const cleanup of cleanups) {
    try {
      cleanup();
    } catch (error) {
      console.error(error); // the others must come all the same
    }
  }
}

/**
 * Runs one benchmark with `--json` and `--quick` from the command line.
 * @param own numbers that this benchmark takes besides: `hosts` for `--hosts N`
 */
export async function bench(
  name: string,
  body: (run: Run) => Promise<void>,
  own: readonly string[] = [],
): Promise<void> {
  process.once("exit", cleanUp);
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
    process.once(signal, () => process.exit(128 + constants.signals[signal]));
  const numbers = Object.fromEntries(own.map((option) => [option, { type: "string" }] as const));
  const { values } = parseArgs({ options: { json: { type: "boolean" }, quick: { type: "boolean" }, ...numbers } });
  if (!values.json) {
    console.log(`${name}: ${cpus().length} × ${cpus()[0]?.model}, Linux ${release()}, Node ${process.version}`);
    console.log(row(["figure", "unit", "ours", "peer", "ratio", "target", ""]));
  }
  const run: Run = {
    quick: values.quick === true,
    number: (option, otherwise) => {
      const text = (values as Readonly<Record<string, unknown>>)[option];
      const value = Number(text ?? otherwise);
      if (Number.isFinite(value)) return value;
      throw new Error(`--${option} ${text} is no number`);
    },
    figure: (measured) => {
      const line = judge(name, measured);
      if (values.json) console.log(JSON.stringify(line));
      else
        console.log(
          row([line.figure, line.unit, text(line.ours), text(line.peer), text(line.ratio), line.target, verdict(line)]),
        );
    },
  };
  try {
    await body(run);
  } catch (thrown) {
    // Ctrl-C ends a program that was waited for before this process hears of it; then that is no failure.
    await sleep(SIGNAL_DELAY_MS);
    throw thrown;
  }
}

/**
 * Calls both sides `rounds` times, one after the other and each round in the other order, so that drift of the machine
 * hits both alike.
 * @returns the samples of each side, in order of rounds
 */
export async function alternate(
  rounds: number,
  ours: () => Promise<number> | number,
  peer: () => Promise<number> | number,
): Promise<{ ours: number[]; peer: number[] }> {
  return inTurns(rounds, { ours, peer });
}

/**
 * As `alternate`, of any number of sides: in the order in which they are given, and each second round in the reverse.
 * @returns the samples of each side, in order of rounds
 */
export async function inTurns<Side extends string>(
  rounds: number,
  sides: Readonly<Record<Side, () => Promise<number> | number>>,
): Promise<Record<Side, number[]>> {
  const names = Object.keys(sides) as Side[];
  const samples = Object.fromEntries(names.map((name) => [name, []])) as unknown as Record<Side, number[]>;
  for (let round = 0; round < rounds; round++)
    for (const name of round % 2 === 0 ? names : names.toReversed()) samples[name].push(await sides[name]());
  return samples;
}

/** The median of what each round gives by itself: load that comes and goes changes both sides of a round, and not this. */
export function medianRatio(ours: readonly number[], peer: readonly number[]): number {
  return median(ours.map((sample, round) => sample / (peer[round] ?? Number.NaN)));
}

export function median(samples: readonly number[]): number {
  const sorted = [...samples].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** The smallest sample that `percent` of all samples do not exceed. */
export function percentile(samples: readonly number[], percent: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil((sorted.length * percent) / 100) - 1)] ?? Number.NaN;
}

export interface FigureLine extends Omit<Measured, "ratio"> {
  readonly bench: string;
  readonly ratio: number | null;
  readonly ok: boolean;
}

/** Adds the ratio and whether the target is reached. */
export function judge(benchName: string, measured: Measured): FigureLine {
  const { figure, unit, ours, peer, target } = measured;
  const divided = ours === null || peer === null || peer === 0 ? null : ours / peer;
  const ratio = measured.ratio ?? divided;
  const { subject, operator, bound } = parseTarget(target);
  const value = subject === "ratio" ? ratio : ours;
  const ok = operator === "" || (value !== null && (operator === "<=" ? value <= bound : value >= bound));
  return { bench: benchName, figure, unit, ours: round3(ours), peer: round3(peer), ratio: round3(ratio), target, ok };
}

function parseTarget(target: string): { subject: string; operator: "" | "<=" | ">="; bound: number } {
  if (target === "") return { subject: "", operator: "", bound: 0 };
  const match = /^(ours|ratio)(<=|>=)([\d.]+)$/.exec(target);
  if (match === null) throw new Error(`${target} is a target such as ours<=20 or ratio>=1.1`);
  return { subject: match[1] as string, operator: match[2] as "<=" | ">=", bound: Number(match[3]) };
}

function round3(value: number | null): number | null {
  return value === null ? null : Number(value.toPrecision(3));
}

function verdict(line: FigureLine): string {
  if (line.target === "") return "reference";
  return line.ok ? "reached" : "MISSED";
}

function text(value: number | null): string {
  return value === null ? "-" : String(value);
}

function row(cells: readonly string[]): string {
  const widths = [24, 10, 10, 10, 8, 12, 9];
  return cells
    .map((cell, i) => (i < 2 || i > 4 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
    .join(" ")
    .trimEnd();
}

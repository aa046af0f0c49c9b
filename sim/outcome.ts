/**
 * How a run of a simulation ended: all invariants held, or which one did not, where and when.
 */

export interface Violation {
  readonly invariant: string;
  readonly problem: string;
  /** Virtual ms. */
  readonly at: number;
}

export interface Outcome {
  readonly violation: Violation | undefined;
  readonly fingerprint: string;
  readonly lines: readonly string[];
  /** Virtual ms. */
  readonly ms: number;
  /** Quiet periods that were reached. */
  readonly rests: number;
}

/** Thrown where an invariant does not hold; it ends the run. */
export class Violated extends Error {
  readonly invariant: string;

  constructor(invariant: string, problem: string) {
    super(problem);
    this.invariant = invariant;
  }
}

/** What a run ended with that did not come to its end. What the
 * machine throws is a violation; what the simulation itself throws is a defect of it, and is thrown on. */
export function violationOf(error: unknown, at: number): Violation {
  if (error instanceof Violated) return { invariant: error.invariant, problem: error.message, at };
  if (!/^\s+at .*\/src\//m.test(firstFrame(error as Error))) throw error;
  return { invariant: "no input makes the machine throw", problem: placeOf(error as Error), at };
}

function firstFrame({ stack = "" }: Error): string {
  return /^\s+at .*$/m.exec(stack)?.[0] ?? "";
}

/** The message, and where in the product it was thrown. */
function placeOf({ message, stack = "" }: Error): string {
  return [message, ...[...stack.matchAll(/(?:src|sim)\/[\w/.-]+:\d+/g)].slice(0, 3).map(([place]) => place)].join(
    " < ",
  );
}

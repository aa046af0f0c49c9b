/**
 * Which versions of Weft work together, and what an agent says that it can do (docs/decisions/0036). One version is a
 * step of the second number: 0.3.1 and 0.4.0 are one apart. Who names no version is from before 0.2, where agents did not.
 */

/** What an agent enforces or takes part in, and one of a version before does not. A name is never given another meaning. */
export const AGENT_FEATURES = ["elastic", "isolation", "policies"] as const;
export type AgentFeature = (typeof AGENT_FEATURES)[number];

/** What an agent says of its program. Both are absent where it is from before agents said it. */
export interface AgentProgram {
  /** `0.3.1`. */
  readonly version?: string | undefined;
  /** Names of AGENT_FEATURES, and of what came later. */
  readonly features?: readonly string[] | undefined;
}

const UNNAMED = "0.1.0";
const FORM = /^(\d{1,6})\.(\d{1,6})\./;

/** Two that are not comparable are none too far apart: a build of somebody's own. */
export function areTooFarApart(a: string = UNNAMED, b: string = UNNAMED): boolean {
  const [one, other] = [FORM.exec(a), FORM.exec(b)];
  if (one === null || other === null) return false;
  return one[1] !== other[1] || Math.abs(Number(one[2]) - Number(other[2])) > 1;
}

/** As a sentence names it: `weft 0.3.1`. */
export function programText({ version }: AgentProgram): string {
  return version === undefined ? "a weft from before 0.2, which names no version" : `weft ${version}`;
}

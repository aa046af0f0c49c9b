/**
 * The lab for end-to-end tests. A test file calls `labOrReason` first of all: it starts the file again inside namespaces
 * of its own (src/app/demo/enter-lab.ts), so that tests touch nothing of the machine and leave nothing behind, whatever
 * happens to them. Where that cannot be, its tests skip themselves by name with the reason.
 */
import { enterLab, labProblem } from "../../src/app/demo/enter-lab.ts";

/** @returns why there is no lab, for the `skip` option of a test; `undefined` inside a lab */
export async function labOrReason(): Promise<string | undefined> {
  const problem = labProblem();
  if (problem === undefined) await enterLab();
  return problem;
}

/**
 * `npm run demo [-- --check]`: the whole product on one machine, in namespaces of its own (enter-lab.ts): a cluster is
 * built (scenario.ts), every path is tried (checks.ts), and what came of it is shown (report.ts). It then waits for
 * Ctrl-C, so that one can look around; with `--check` it ends with a count and a status that is 0 only if all is well.
 */
import { parseArgs } from "node:util";
import { messageOf } from "../../model/fault.ts";
import { type CheckResult, runChecks, scenarioChecks } from "./checks.ts";
import { enterLab, labProblem } from "./enter-lab.ts";
import { containerTable, failureLines, lookAround, matrix, seenTable } from "./report.ts";
import { createScenario, type Scenario } from "./scenario.ts";
import { heading, paint, print, step } from "./screen.ts";

const USAGE = `usage: npm run demo [-- --check]

Three hosts, an internet host, a master, three agents and their containers, in
network namespaces of their own: the machine's network is not touched, and all
of it is gone when the demo ends. Needs root, or unprivileged user namespaces;
for root Docker and Podman run some of the containers where they are installed.

  --check   do not wait for Ctrl-C; end with 'N checks passed, M failed'
  --help    print this
`;

function readArguments(): { check: boolean } {
  try {
    const { values } = parseArgs({ options: { check: { type: "boolean" }, help: { type: "boolean", short: "h" } } });
    if (values.help !== true) return { check: values.check === true };
    process.stdout.write(USAGE);
    process.exit(0);
  } catch (error) {
    process.stderr.write(`demo: ${messageOf(error)}\n${USAGE}`);
    process.exit(64);
  }
}

function show(scenario: Scenario, results: readonly CheckResult[]): void {
  const { containers, lab } = scenario;
  const names = containers.map(({ name }) => name);
  const nodes = lab.hosts.map(({ name }) => name);
  heading("Containers, each with an address of its own");
  print(containerTable(scenario));
  heading("Who reaches whom (4: over IPv4, 6: over IPv6, seen with its own address)");
  print(matrix(results, names, names));
  heading("To nodes, to the internet, and to an address that nobody has");
  print(matrix(results, names, [...nodes, "internet", "nobody"]));
  print();
  print(seenTable(results, names[0] ?? "", [nodes.at(-1) ?? "", "internet", "nobody"]));
  const failures = failureLines(results);
  if (failures.length > 0) print(`\n${failures.join("\n")}`);
}

function summary(results: readonly CheckResult[]): string {
  const failed = results.filter(({ passed }) => !passed).length;
  return `${results.length - failed} checks passed, ${failed} failed`;
}

async function waitForEnd(scenario: Scenario): Promise<void> {
  heading("Look around, in another terminal");
  print(lookAround(scenario));
  print(`\n${paint("bold", "Ctrl-C")} removes everything.`);
  const keepAlive = setInterval(() => {}, 1 << 30);
  await new Promise<void>((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => resolve());
  });
  clearInterval(keepAlive);
  print("\nremoved: hosts, containers, devices, files");
}

async function main(): Promise<number> {
  const { check } = readArguments();
  const problem = labProblem();
  if (problem !== undefined) {
    process.stderr.write(`demo: ${problem}\n`);
    return 77;
  }
  await enterLab();
  print(paint("bold", "Weft: every container its own IP address, on three hosts\n"));
  let results: CheckResult[];
  try {
    const scenario = await createScenario();
    results = await step("a connection on every path", () => runChecks(scenarioChecks(scenario)));
    show(scenario, results);
    if (!check) await waitForEnd(scenario);
  } catch (error) {
    print(`\n${messageOf(error)}\n\n0 checks passed, 1 failed`);
    return 1;
  }
  if (check) print(`\n${summary(results)}`);
  return results.every(({ passed }) => passed) ? 0 : 1;
}

process.exit(await main());

/**
 * What the demo proves, as questions with one right answer each: from where, to where, and whose address the other side
 * must see. Between containers and towards nodes that is the container's own; outside it is its host's.
 */
import type { Ip } from "../../model/ip.ts";
import type { Container } from "./containers.ts";
import type { Scenario } from "./scenario.ts";

export type Family = "4" | "6";

export interface Check {
  readonly from: string;
  readonly to: string;
  readonly family: Family;
  /** What the other side must have seen, or the error that must come. */
  readonly expected: string;
  readonly ask: () => Promise<string>;
}

export interface CheckResult extends Check {
  readonly answer: string;
  readonly passed: boolean;
}

/** In slice 77 of `dcos`, which no host has. */
const NOBODY = "9.0.77.5";

export function scenarioChecks({ containers, lab }: Scenario): Check[] {
  return containers.flatMap((from) => [
    ...containers.filter((to) => to !== from).flatMap((to) => pairChecks(from, to)),
    ...lab.hosts.map((node) => check(from, node.name, "4", node.address, from.ip)),
    ...internetChecks(from, lab.internet),
    check(from, "nobody", "4", NOBODY, "EHOSTUNREACH"),
  ]);
}

function pairChecks(from: Container, to: Container): Check[] {
  const four = check(from, to.name, "4", to.ip, from.ip);
  if (from.ip6 === undefined || to.ip6 === undefined) return [four];
  return [four, check(from, to.name, "6", to.ip6, from.ip6)];
}

/** The internet host knows no way to a container: that it answers at all shows that it saw a host. */
function internetChecks(from: Container, internet: { readonly address: Ip; readonly address6: Ip }): Check[] {
  const four = check(from, "internet", "4", internet.address, from.host.address);
  if (from.ip6 === undefined) return [four];
  return [four, check(from, "internet", "6", internet.address6, from.host.address6)];
}

function check(from: Container, to: string, family: Family, target: Ip | string, expected: string): Check {
  const { name, probe } = from;
  return { from: name, to, family, expected, ask: () => probe.ask(target) };
}

export async function runChecks(checks: readonly Check[]): Promise<CheckResult[]> {
  return Promise.all(
    checks.map(async (each) => {
      const answer = await each.ask();
      return { ...each, answer, passed: answer === each.expected };
    }),
  );
}

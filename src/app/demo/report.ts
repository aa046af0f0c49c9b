/**
 * The demo's results as text: which container has which address, who reaches whom, and how to look around.
 */
import { relative } from "node:path";
import { renderTable } from "../cli/table.ts";
import type { CheckResult } from "./checks.ts";
import type { Container } from "./containers.ts";
import { isRootless, outsidePid } from "./enter-lab.ts";
import type { Scenario } from "./scenario.ts";
import { paint } from "./screen.ts";
import { WEFT } from "./weft-process.ts";

export function containerTable({ containers }: Scenario): string {
  const columns = [
    { title: "HOST" },
    { title: "" },
    { title: "CONTAINER" },
    { title: "BY" },
    { title: "NETWORKS" },
    { title: "ADDRESSES" },
  ];
  return renderTable(
    columns,
    containers.map(({ host, name, by, networks, ip, ip6 }) => [
      host.name,
      host.address,
      name,
      by,
      networks.join(", "),
      ip6 === undefined ? ip : `${ip}, ${ip6}`,
    ]),
  );
}

/** One row a container, one column a target; `4` and `6` where a connection over that family was right, `✖` if not. */
export function matrix(results: readonly CheckResult[], from: readonly string[], to: readonly string[]): string {
  const cell = (source: string, target: string) =>
    source === target ? "·" : marks(results.filter((result) => result.from === source && result.to === target));
  const width = Math.max(...to.map((name) => name.length)) + 2;
  const line = (cells: readonly string[]) =>
    cells
      .map((text) => text.padEnd(width))
      .join("")
      .trimEnd();
  const first = "FROM  TO";
  const rows = from.map(
    (source) => `${source.padEnd(first.length + 2)}${line(to.map((target) => cell(source, target)))}`,
  );
  return [`${first}  ${line(to)}`, ...rows].join("\n").replaceAll("✖", paint("red", "✖"));
}

function marks(results: readonly CheckResult[]): string {
  return results.map(({ family, passed }) => (passed ? family : `${family}✖`)).join(" ");
}

/** What went wrong, one line each. */
export function failureLines(results: readonly CheckResult[]): string[] {
  return results
    .filter(({ passed }) => !passed)
    .map(({ from, to, family, expected, answer }) => {
      const said = answer === "" ? "nothing" : answer;
      return `${paint("red", "✖")} ${from} → ${to} over IPv${family}: expected ${expected}, got ${said}`;
    });
}

/** What the other side saw, for those whose address is not the container's everywhere. */
export function seenTable(results: readonly CheckResult[], from: string, to: readonly string[]): string {
  const shown = results.filter((result) => result.from === from && to.includes(result.to));
  return renderTable(
    [{ title: "FROM" }, { title: "TO" }, { title: "WHO SEES" }],
    shown.map((result) => [from, result.to, result.answer]),
  );
}

/** Commands for another terminal, exactly as they are to be typed. */
export function lookAround({ master, agents, containers, nodeProbes, lab }: Scenario): string {
  const weft = relative(process.env.INIT_CWD ?? process.cwd(), WEFT);
  // Without root the lab is a user namespace as well: whoever enters becomes its root.
  const enter = isRootless() ? "nsenter --preserve-credentials -U -n -t" : "nsenter -n -t";
  const outside = (socket: string) => `unix:/proc/${outsidePid()}/root${socket}`;
  const [host] = lab.hosts;
  const [first] = containers;
  const last = containers.find(({ name }) => name === "web3");
  const agent = outside(agents[0]?.socket ?? "");
  const lines: [string, string][] = [
    ["networks, agents, errors", `${weft} status --master ${outside(master.socket)}`],
    [`the agent of ${host?.name}`, `${weft} status --agent ${agent}`],
    [`what runs on ${host?.name}, with addresses and ports`, `${weft} tasks --agent ${agent}`],
    [`who talks to whom on ${host?.name}`, `${weft} top --agent ${agent}`],
    [`into ${first?.name}`, `${enter} ${first?.probe.pid} ping ${last?.ip}`],
    [`routes of ${host?.name}`, `${enter} ${nodeProbes[0]?.pid} ip route show proto 87`],
    ...["docker", "podman"].flatMap((runtime) => commandOf(runtime, containers)),
  ];
  return lines.map(([what, command]) => `  ${paint("dim", `# ${what}`)}\n  ${command}`).join("\n");
}

/** One of the runtime's own, about its first container if it has any. */
function commandOf(runtime: string, containers: readonly Container[]): [string, string][] {
  const found = containers.find(({ by }) => by === runtime);
  if (found?.machine === undefined) return [];
  return [[`${runtime} on ${found.host.name}`, `${found.machine.enterText} ${runtime} exec ${found.name} ip addr`]];
}

/**
 * `weft config check FILE`: what a master would say of a configuration, without starting one.
 */
import type { Command } from "commander";
import type { ParsedConfig } from "../../core/config/cluster-config.ts";
import { subnetCount } from "../../model/ip.ts";
import type { Overlay } from "../../model/network.ts";
import { type Column, renderTable } from "./table.ts";

export function addConfigCommand(program: Command): void {
  program
    .command("config")
    .description("work with configuration files")
    .command("check")
    .description("validate a configuration file; prints every problem, or what the file defines")
    .argument("<file>", "config.yaml, as 'weft master --config' takes it")
    .option("--json", "print JSON")
    .addHelpText("after", "\nExit status: 0 the file can be served, 78 it cannot.")
    .action(async (file: string, { json }: { json?: true }) => {
      const { readClusterConfig } = await import("../master/config-file.ts"); // with all of YAML
      const parsed = readClusterConfig(file);
      const { config, warnings } = parsed;
      console.log(json === true ? JSON.stringify({ ...config, warnings }, undefined, 2) : summary(parsed));
    });
}

const COLUMNS: readonly Column[] = [
  { title: "NETWORK" },
  { title: "SUBNETS", cut: true },
  { title: "EACH AGENT GETS" },
  { title: "AGENTS AT MOST", align: "right" },
  { title: "ENABLED" },
];

function summary({ config, warnings }: ParsedConfig): string {
  const { network } = config;
  const pools = [network.vtepSubnet, network.vtepSubnet6].filter((pool) => pool !== undefined).join(", ");
  return [
    renderTable(COLUMNS, network.overlays.map(overlayRow)),
    "",
    `VTEP addresses from ${pools}`,
    ...(config.defaultNetwork === undefined ? [] : [`default network ${config.defaultNetwork}`]),
    ...warnings.map((warning) => `warning: ${warning}`),
  ].join("\n");
}

function overlayRow({ name, subnet, prefix, subnet6, prefix6, enabled }: Overlay): string[] {
  const four = subnet !== undefined && prefix !== undefined ? [{ space: subnet, length: prefix }] : [];
  const six = subnet6 !== undefined && prefix6 !== undefined ? [{ space: subnet6, length: prefix6 }] : [];
  const spaces = [...four, ...six];
  const [least] = spaces.map(({ space, length }) => subnetCount(space, length)).sort((a, b) => (a < b ? -1 : 1));
  return [
    name,
    spaces.map(({ space }) => space).join(", "),
    spaces.map(({ length }) => `/${length}`).join(", "),
    String(least ?? 0n),
    enabled ? "yes" : "no",
  ];
}

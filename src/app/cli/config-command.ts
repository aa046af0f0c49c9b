/**
 * `weft config check FILE`: what a master would say of a configuration, without starting one.
 */
import type { Command } from "commander";
import type { ParsedConfig } from "../../core/config/cluster-config.ts";
import { type Family, subnetCount } from "../../model/ip.ts";
import { type Overlay, spacesOf } from "../../model/network.ts";
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

function overlayRow(overlay: Overlay): string[] {
  const { name, enabled } = overlay;
  const of = (family: Family) =>
    spacesOf(overlay).flatMap(({ subnet, prefix, subnet6, prefix6, draining = false }) => {
      const [space, length] = family === 4 ? [subnet, prefix] : [subnet6, prefix6];
      return space === undefined || length === undefined ? [] : [{ space, length, draining }];
    });
  const spaces = [...of(4), ...of(6)];
  const counts = [of(4), of(6)]
    .filter((each) => each.length > 0)
    .map((each) => each.reduce((sum, one) => sum + (one.draining ? 0n : subnetCount(one.space, one.length)), 0n));
  const [least] = counts.sort((a, b) => (a < b ? -1 : 1));
  return [
    name,
    spaces.map(({ space }) => space).join(", "),
    spaces.map(({ length }) => `/${length}`).join(", "),
    String(least ?? 0n),
    enabled ? "yes" : "no",
  ];
}

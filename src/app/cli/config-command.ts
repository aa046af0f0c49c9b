/**
 * `weft config check FILE`: what a master would say of a configuration, without starting one.
 */
import { readFileSync } from "node:fs";
import { type Command, Option } from "commander";
import { type ParsedConfig, parseClusterConfig } from "../../core/config/cluster-config.ts";
import { Fault } from "../../model/fault.ts";
import { subnetCount } from "../../model/ip.ts";
import { CONFIG_FILE_MAX_BYTES } from "../../model/limits.ts";
import type { Overlay } from "../../model/network.ts";
import { type Column, renderTable } from "./table.ts";

export function addConfigCommand(program: Command): void {
  program
    .command("config")
    .description("work with configuration files")
    .command("check")
    .description("validate a configuration file; prints every problem, or what the file defines")
    .argument("<file>", "config.yaml, as 'weft master --config' takes it")
    .addOption(new Option("--json", "print JSON"))
    .addHelpText("after", "\nExit status: 0 the file can be served, 78 it cannot.")
    .action((file: string, { json }: { json?: true }) => {
      const parsed = parseFile(file);
      console.log(
        json ? JSON.stringify({ ...parsed.config, warnings: parsed.warnings }, undefined, 2) : summary(parsed),
      );
    });
}

/** @throws Fault bad-config that begins with the name of the file */
function parseFile(file: string): ParsedConfig {
  const text = readConfigFile(file);
  try {
    return parseClusterConfig(text);
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    throw new Fault(error.code, `${file}: ${error.message}`, { ...error.facts, file });
  }
}

/** @throws Fault bad-config */
function readConfigFile(file: string): string {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const reason = code === "ENOENT" ? "there is no such file" : code === "EISDIR" ? "it is a folder" : message;
    throw new Fault("bad-config", `${file} cannot be read: ${reason}`, { file });
  }
  if (bytes.length > CONFIG_FILE_MAX_BYTES)
    throw new Fault("bad-config", `${file} has ${bytes.length} bytes, at most ${CONFIG_FILE_MAX_BYTES} are read`);
  return bytes.toString("utf8");
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
  const slices: [typeof subnet, number | undefined][] = [
    [subnet, prefix],
    [subnet6, prefix6],
  ];
  const present = slices.flatMap(([space, length]) => (space && length ? [{ space, length }] : []));
  const [least] = present.map(({ space, length }) => subnetCount(space, length)).sort((a, b) => (a < b ? -1 : 1));
  return [
    name,
    present.map(({ space }) => space).join(", "),
    present.map(({ length }) => `/${length}`).join(", "),
    String(least ?? 0n),
    enabled ? "yes" : "no",
  ];
}

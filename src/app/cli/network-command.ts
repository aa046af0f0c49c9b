/**
 * `weft network add|set|disable|enable|drain|rm` and `weft apply`: networks while they carry traffic.
 */
import { readFileSync } from "node:fs";
import { type Command, InvalidArgumentError, Option } from "commander";
import { z } from "zod";
import type { SpaceEdit } from "../../core/ipam/spaces.ts";
import { Fault, messageOf } from "../../model/fault.ts";
import { changesSchema, holdersSchema, planSchema } from "../master/network-routes.ts";
import { callService, type Service } from "./api-client.ts";
import { addOperatorOptions, type MasterFlags, masterOf } from "./master-option.ts";
import { renderTable } from "./table.ts";

interface DefinitionFlags extends MasterFlags {
  readonly subnet?: string;
  readonly prefix?: number;
  readonly subnet6?: string;
  readonly prefix6?: number;
  readonly strictHalves?: boolean;
  readonly isolation?: string;
  readonly egress?: string;
}

interface SpaceFlags {
  readonly addSubnet?: readonly SpaceEdit[];
  readonly drainSubnet?: readonly SpaceEdit[];
  readonly undrainSubnet?: readonly SpaceEdit[];
  readonly removeSubnet?: readonly SpaceEdit[];
}

type Fields = Record<string, unknown>;

const HELP = `
By the master's socket, as root of its host; from afar with a token of
'weft token create --operator', in the file --operator-token-file.
Exit status: 0, 1 refused, 64 usage, 75 nobody answers, 77 no rights, 78 what is
given is no valid network.`;

const ADD_HELP = `
Agents have the network in about a second, without a restart:
  weft network add web --subnet 10.64.0.0/12 --prefix 24
${HELP}`;

const SET_HELP = `
A subnet is replaced while the network is used: agents get a slice of the new
space, new containers an address of it, and the old space goes when the last
container with an address of it has gone.
  weft network set dcos --add-subnet 10.0.0.0/8/24 --drain-subnet 9.0.0.0/8
  weft network set dcos --remove-subnet 9.0.0.0/8
Where agents have slices of both families of a space, both must be added anew.
${HELP}`;

const DRAIN_HELP = `
New containers are refused from now on; those in the network stay as they are.
'weft network holders' tells who still has some, and 'weft network rm' removes
the network when nobody has any. --undo takes new containers again.
${HELP}`;

const RM_HELP = `
A network is drained first. Its bridges, routes, rules, CNI files and leases go
from every host, also from those that are off now, when they come back. --force
removes it with containers in it: they lose this network at once.
${HELP}`;

const APPLY_HELP = `
Lays a configuration file over what is in force, as a start of the master with
that file would: additions are taken, what would take something from agents is
refused, and the rest is served. --plan tells what would happen, and changes
nothing. Exit status 1: something was refused.
${HELP}`;

export function addNetworkCommands(program: Command): void {
  const network = program.command("network").description("add, change, drain and remove networks, while they are used");
  addDefinitionOptions(changing(network, "add"))
    .description("add a network")
    .argument("<name>", "at most 13 characters")
    .addHelpText("after", ADD_HELP)
    .action(async (name: string, flags: DefinitionFlags) => {
      await callService(masterOf(flags), "POST", "/v1/networks", z.undefined(), { name, ...definitionOf(flags) });
      console.log(`network ${name} is added`);
    });
  addSpaceOptions(addDefinitionOptions(changing(network, "set")))
    .description("change a network's definition, as far as that takes nothing from agents")
    .argument("<name>", "as 'weft networks' shows it")
    .addHelpText("after", SET_HELP)
    .action((name: string, flags: DefinitionFlags & SpaceFlags) =>
      set(name, { ...definitionOf(flags), ...spacesOf(flags) }, flags),
    );
  changing(network, "disable")
    .description("give no more slices of a network to agents; what they have stays in use")
    .argument("<name>", "as 'weft networks' shows it")
    .addHelpText("after", HELP)
    .action((name: string, flags: MasterFlags) => set(name, { enabled: false }, flags));
  changing(network, "enable")
    .description("give slices of a network to agents again")
    .argument("<name>", "as 'weft networks' shows it")
    .addHelpText("after", HELP)
    .action((name: string, flags: MasterFlags) => set(name, { enabled: true }, flags));
  changing(network, "drain")
    .description("take no more containers into a network")
    .argument("<name>", "as 'weft networks' shows it")
    .option("--undo", "take containers again")
    .addHelpText("after", DRAIN_HELP)
    .action(drain);
  changing(network, "holders")
    .description("the hosts that have containers in a network")
    .argument("<name>", "as 'weft networks' shows it")
    .addHelpText("after", HELP)
    .action(async (name: string, flags: MasterFlags) => console.log(await holdersText(masterOf(flags), name)));
  changing(network, "rm")
    .description("remove a network from the cluster and from every host")
    .argument("<name>", "as 'weft networks' shows it")
    .option("--force", "although containers are in it")
    .addHelpText("after", RM_HELP)
    .action(async (name: string, flags: MasterFlags & { readonly force?: true }) => {
      const path = `${pathOf(name)}?force=${flags.force === true}`;
      await callService(masterOf(flags), "DELETE", path, z.undefined());
      console.log(`network ${name} is removed`);
    });
  changing(program, "apply")
    .description("lay a configuration file over what is in force")
    .requiredOption("-f, --file <file>", "configuration of the networks, YAML or JSON")
    .option("--plan", "tell what would change, and change nothing")
    .addHelpText("after", APPLY_HELP)
    .action(apply);
}

function changing(parent: Command, name: string): Command {
  return addOperatorOptions(parent.command(name));
}

function addDefinitionOptions(command: Command): Command {
  return command
    .option("--subnet <prefix>", "its IPv4 space, such as 10.64.0.0/12")
    .option("--prefix <length>", "of the slice of it that each agent gets", Number)
    .option("--subnet6 <prefix>", "its IPv6 space, such as fd02:b::/64")
    .option("--prefix6 <length>", "of the slice of that", Number)
    .option("--strict-halves", "the halves of a slice lend each other nothing")
    .option("--no-strict-halves", "they do")
    .option("--isolation <word>", "open, closed, or the networks that it talks to: web,db")
    .addOption(new Option("--egress <word>", "how the outside is reached").choices(["masquerade", "routed", "none"]));
}

function addSpaceOptions(command: Command): Command {
  const collect =
    (op: Exclude<SpaceEdit["op"], "add">) => (subnet: string, before: readonly SpaceEdit[] | undefined) => [
      ...(before ?? []),
      { op, subnet },
    ];
  return command
    .option("--add-subnet <prefix/length>", "a further space: 10.0.0.0/8/24 gives each agent a /24 of it", addedSpace)
    .option("--drain-subnet <prefix>", "agents give back what they have of this space", collect("drain"))
    .option("--undrain-subnet <prefix>", "they get slices of it again", collect("resume"))
    .option("--remove-subnet <prefix>", "a space of which no agent has a slice", collect("remove"));
}

function addedSpace(text: string, before: readonly SpaceEdit[] | undefined): readonly SpaceEdit[] {
  const [, subnet = "", length] = /^([^/]+\/\d{1,3})\/(\d{1,3})$/.exec(text) ?? [];
  if (subnet === "") throw new InvalidArgumentError("Give the space and the length of its slices: 10.0.0.0/8/24.");
  const prefix = Number(length);
  const space = subnet.includes(":") ? { subnet6: subnet, prefix6: prefix } : { subnet, prefix };
  return [...(before ?? []), { op: "add", space }];
}

/** What is added is there before anything else drains. */
function spacesOf({ addSubnet = [], drainSubnet = [], undrainSubnet = [], removeSubnet = [] }: SpaceFlags): Fields {
  const spaces = [...addSubnet, ...drainSubnet, ...undrainSubnet, ...removeSubnet];
  return spaces.length === 0 ? {} : { spaces };
}

/** In the file's own form; what is wrong with it the master says. */
function definitionOf(flags: DefinitionFlags): Fields {
  const { subnet, prefix, subnet6, prefix6, strictHalves, isolation, egress } = flags;
  return {
    ...(subnet !== undefined && { subnet }),
    ...(prefix !== undefined && { prefix }),
    ...(subnet6 !== undefined && { subnet6 }),
    ...(prefix6 !== undefined && { prefix6 }),
    ...(strictHalves !== undefined && { strict_halves: strictHalves }),
    ...(isolation !== undefined && { isolation: isolationOf(isolation) }),
    ...(egress !== undefined && { egress }),
  };
}

function isolationOf(text: string): unknown {
  return text === "open" || text === "closed" ? text : { allow: text.split(",") };
}

function pathOf(name: string): string {
  return `/v1/networks/${encodeURIComponent(name)}`;
}

async function set(name: string, fields: Fields, flags: MasterFlags): Promise<void> {
  const { changes } = await callService(masterOf(flags), "PATCH", pathOf(name), changesSchema, fields);
  console.log(changes.length === 0 ? `network ${name} is so already` : changes.join("\n"));
}

async function drain(name: string, flags: MasterFlags & { readonly undo?: true }): Promise<void> {
  await set(name, { phase: flags.undo === true ? null : "draining" }, flags);
  if (flags.undo !== true) console.log(await holdersText(masterOf(flags), name));
}

async function holdersText(master: Service, name: string): Promise<string> {
  const { holders } = await callService(master, "GET", `${pathOf(name)}/holders`, holdersSchema);
  if (holders.length === 0) return `no host has a container in ${name}`;
  const columns = [
    { title: "HOST", cut: true },
    { title: "AGENT", cut: true },
    { title: "CONTAINERS", align: "right" as const },
    { title: "CONNECTED" },
  ];
  const rows = holders.map(({ hostname, agent, containers, connected }) => [
    hostname,
    agent,
    containers === undefined ? "unknown" : String(containers),
    connected ? "yes" : "no",
  ]);
  return renderTable(columns, rows);
}

async function apply(flags: MasterFlags & { readonly file: string; readonly plan?: true }): Promise<void> {
  const master = masterOf(flags);
  const config = readText(flags.file);
  const path = flags.plan === true ? "/v1/plan" : "/v1/apply";
  const { changes, refused } = await callService(master, "POST", path, planSchema, { config });
  const lines = [...changes, ...refused.map((reason) => `refused: ${reason}`)];
  console.log(lines.length === 0 ? "nothing changes" : lines.join("\n"));
  if (refused.length > 0) process.exitCode = 1;
}

/** @throws Fault bad-config */
function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (thrown) {
    throw new Fault("bad-config", `${path} cannot be read (${messageOf(thrown)}); name another file with -f`);
  }
}

/**
 * `weft status`, `weft networks`, `weft agents`, `weft agents remove`: what runs, asked of the master (or of one agent)
 * over its HTTP interface, as tables or as JSON.
 */
import { type Command, Option } from "commander";
import { z } from "zod";
import { agentStatusSchema } from "../agent/app.ts";
import { capacityViewSchema } from "../master/capacity.ts";
import { agentSchema, networkSchema, statusSchema } from "../master/views.ts";
import { callService, parseService, type Service } from "./api-client.ts";
import { capacityText } from "./capacity-text.ts";
import { addMasterOption, addOperatorOptions, type MasterFlags, masterOf } from "./master-option.ts";
import { print } from "./print.ts";
import { agentsTable, agentText, hasFailed, lackText, masterText, networksTable } from "./status-text.ts";

const AGENT_SOCKET = "unix:/run/weft/agent.sock";

/** `weft status` alone: what is asked was answered, and the answer is bad. */
const EXIT_FAILED = 1;

interface Flags extends MasterFlags {
  readonly agent?: string;
  readonly json?: true;
}

const ADDRESS_HELP = `
An address is unix:/PATH, http://HOST:PORT or https://HOST:PORT. WEFT_MASTER in
the environment names the master, too.
Exit status: 0, 1 a network has failed ('weft status'), 64 usage, 75 nobody
answers, 77 no rights.`;

const DRAIN_HELP = `
Runtimes are refused new containers there, until --undo. 'weft agents' tells how
many are left; when none is, stop the agent and 'weft agent rm' it.
Also: weft agent drain, by the master's socket or with --operator-token-file.
${ADDRESS_HELP}`;

const REMOVE_HELP = `
Also: weft agent rm. What it had is given to nobody else for ten minutes, and
the same agent gets it back if it is let in again until then.
By the master's socket, or from afar with --operator-token-file. The host comes
back only by a token that is made afterwards. It still knows the key of the
gossip and any token that it was given: if it is not trusted any more, revoke
those ('weft token revoke') and change the key ('weft gossip rotate-key').
${ADDRESS_HELP}`;

export function addStatusCommands(program: Command): void {
  asking(program.command("status"))
    .description("how the cluster is: networks and their use, agents, every error; or how one agent is")
    .addOption(new Option("--agent [address]", "ask an agent instead of the master").preset(AGENT_SOCKET))
    .action((flags: Flags) => (flags.agent === undefined ? masterStatus(flags) : agentStatus(flags.agent, flags)));
  asking(program.command("networks"))
    .description("the networks in force, and how many agents have a slice of each")
    .action(async (flags: Flags) => {
      const networks = await getNetworks(masterOf(flags));
      print(flags, networks, () => networksTable(networks));
    });
  asking(program.command("capacity"))
    .description("how much room networks have for agents, and agents for containers")
    .action(async (flags: Flags) => {
      const capacity = await callService(masterOf(flags), "GET", "/v1/capacity", capacityViewSchema);
      print(flags, capacity, () => capacityText(capacity));
    });
  const agents = asking(program.command("agents"))
    .description("all agents that the master knows")
    .action(async (flags: Flags) => {
      const list = await getAgents(masterOf(flags));
      print(flags, list, () => agentsTable(list));
    });
  addOperatorOptions(agents.command("drain"))
    .description("take no more containers on an agent's host; those on it stay")
    .argument("<agent>", "its id, as 'weft agents' shows it")
    .option("--undo", "take containers again")
    .addHelpText("after", DRAIN_HELP)
    .action(async (id: string, { undo }: { readonly undo?: true }, command: Command) => {
      const phase = undo === true ? null : "draining";
      await callService(masterOf(command.optsWithGlobals<Flags>()), "PATCH", agentPath(id), z.undefined(), { phase });
      console.log(undo === true ? `${id} takes containers again` : `${id} takes no more containers`);
    });
  addOperatorOptions(agents.command("remove").alias("rm"))
    .description("forget an agent that is gone, and free its addresses; its key is refused from then on")
    .argument("<agent>", "its id, as 'weft agents' shows it")
    .option("--force", "also while it is connected: its containers lose their networks at once")
    .addHelpText("after", REMOVE_HELP)
    .action(async (id: string, { force }: { readonly force?: true }, command: Command) => {
      const path = `${agentPath(id)}?force=${force === true}`;
      await callService(masterOf(command.optsWithGlobals<Flags>()), "DELETE", path, z.undefined());
      console.log(`${id} is removed`);
    });
}

function agentPath(id: string): string {
  return `/v1/agents/${encodeURIComponent(id)}`;
}

function asking(command: Command): Command {
  return addMasterOption(command).option("--json", "print JSON").addHelpText("after", ADDRESS_HELP);
}

async function getNetworks(master: Service) {
  return (await callService(master, "GET", "/v1/networks", z.object({ networks: z.array(networkSchema) }))).networks;
}

async function getAgents(master: Service) {
  return (await callService(master, "GET", "/v1/agents", z.object({ agents: z.array(agentSchema) }))).agents;
}

/** Says on which hosts an older agent does not enforce what it is asked to. */
export async function warnOfLacks(master: Service): Promise<void> {
  for (const agent of await getAgents(master)) {
    const text = lackText(agent);
    if (text !== undefined) console.error(`weft: ${text}`);
  }
}

async function masterStatus(flags: Flags): Promise<void> {
  const master = masterOf(flags);
  const status = await callService(master, "GET", "/v1/status", statusSchema);
  const [networks, agents] = await Promise.all([getNetworks(master), getAgents(master)]);
  print(flags, { ...status, networks, agents }, () => masterText(flags.master, status, networks, agents));
  if (agents.some(({ statuses }) => hasFailed(statuses))) process.exitCode = EXIT_FAILED;
}

async function agentStatus(address: string, flags: Flags): Promise<void> {
  const view = await callService(parseService("agent", address), "GET", "/v1/status", agentStatusSchema);
  print(flags, view, () => agentText(address, view));
  if (hasFailed(view.statuses)) process.exitCode = EXIT_FAILED;
}

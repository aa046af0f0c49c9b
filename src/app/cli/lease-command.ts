/**
 * `weft endpoints`, `weft tasks` and `weft ipam show|check|gc`: the containers and addresses of one host, asked of its
 * agent.
 */
import { type Command, Option } from "commander";
import { z } from "zod";
import { capacitySchema, endpointSchema, taskSchema } from "../agent/app.ts";
import { callService, parseService } from "./api-client.ts";
import { capacityTable, endpointsTable } from "./lease-text.ts";
import { print } from "./print.ts";
import { tasksTable } from "./task-text.ts";

const AGENT_SOCKET = "unix:/run/weft/agent.sock";
/** `weft ipam check` alone: the answer is bad. */
const EXIT_PROBLEMS = 1;

interface Flags {
  readonly agent: string;
  readonly json?: true;
}

const HELP = `
An address is unix:/PATH or http://HOST:PORT. WEFT_AGENT in the environment
names the agent, too.
Exit status: 0, 1 problems were found ('weft ipam check'), 64 usage, 75 nobody
answers, 77 no rights.`;

export function addLeaseCommands(program: Command): void {
  asking(program.command("endpoints"))
    .description("the containers of this host: runtime, network, addresses, since when")
    .action(async (flags: Flags) => {
      const { endpoints } = await ask(flags, "GET", "/v1/endpoints", z.object({ endpoints: z.array(endpointSchema) }));
      print(flags, endpoints, () => endpointsTable(endpoints));
    });
  asking(program.command("tasks"))
    .description("what runs on this host, by its name and framework: ports, health")
    .action(async (flags: Flags) => {
      const { tasks } = await ask(flags, "GET", "/v1/tasks", z.object({ tasks: z.array(taskSchema) }));
      print(flags, tasks, () => tasksTable(tasks));
    });
  const ipam = program.command("ipam").description("the addresses that this host gives to containers");
  asking(ipam.command("show"))
    .description("how many there are, held, resting and free, per network and half")
    .action(async (flags: Flags) => {
      const { capacity } = await ask(flags, "GET", "/v1/capacity", z.object({ capacity: z.array(capacitySchema) }));
      print(flags, capacity, () => capacityTable(capacity));
    });
  asking(ipam.command("check"))
    .description("compare leases with the kernel, and say what is wrong")
    .action(async (flags: Flags) => {
      const { problems } = await ask(flags, "GET", "/v1/leases/check", z.object({ problems: z.array(z.string()) }));
      print(flags, problems, () => (problems.length === 0 ? "no problems" : problems.join("\n")));
      if (problems.length > 0) process.exitCode = EXIT_PROBLEMS;
    });
  asking(ipam.command("gc"))
    .description("release what lost its network namespace; by the agent's socket only")
    .action(async (flags: Flags) => {
      const { released } = await ask(flags, "POST", "/v1/leases/gc", z.object({ released: z.array(endpointSchema) }));
      print(flags, released, () =>
        released.length === 0 ? "nothing to release" : `released:\n${endpointsTable(released)}`,
      );
    });
}

function asking(command: Command): Command {
  const agent = new Option("--agent <address>", "the agent to ask").default(AGENT_SOCKET).env("WEFT_AGENT");
  return command.addOption(agent).option("--json", "print JSON").addHelpText("after", HELP);
}

function ask<T>(flags: Flags, method: "GET" | "POST", path: string, schema: z.ZodType<T>): Promise<T> {
  return callService(parseService("agent", flags.agent), method, path, schema);
}

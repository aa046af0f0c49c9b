/**
 * `weft policy add|ls|show|rm`: which groups of containers reach which.
 */
import { type Command, InvalidArgumentError } from "commander";
import { z } from "zod";
import { Fault } from "../../model/fault.ts";
import { type Policy, type PolicyPorts, policySchema, type Selector } from "../../model/policy.ts";
import { parsePolicyPorts, parseSelector, policyPortsText, selectorText } from "../../model/policy-text.ts";
import { policiesSchema } from "../master/policy-routes.ts";
import { callService } from "./api-client.ts";
import { addMasterOption, addOperatorOptions, type MasterFlags, masterOf } from "./master-option.ts";
import { print } from "./print.ts";
import { warnOfLacks } from "./status-command.ts";
import { type Column, renderTable } from "./table.ts";

interface Flags extends MasterFlags {
  readonly json?: true;
}

interface AddFlags extends Flags {
  readonly from: Selector;
  readonly to: Selector;
  readonly ports?: readonly PolicyPorts[];
  readonly network?: string;
}

const HELP = `
A container that no policy names as --to is reached by all, as isolation
allows. One that is named is reached, of all containers, only by those that one
of its policies lets in; hosts and the outside are no containers.

  weft policy add db --from app=web --to app=db --ports tcp/5432
`;

export function addPolicyCommands(program: Command): void {
  const policy = program.command("policy").description("which groups of containers reach which");
  addOperatorOptions(policy.command("add"))
    .description("add a policy, or change the one of this name")
    .argument("<name>", "as 'weft policy ls' shows it")
    .requiredOption("--from <labels>", "who is let in: app=web,tier=1", readSelector)
    .requiredOption("--to <labels>", "whom it is about", readSelector)
    .option("--ports <ports>", "to which ports: tcp/5432,udp/5000-5010 (default: all)", readPorts)
    .option("--network <name>", "only containers of this network (default: of all)")
    .option("--json", "print JSON")
    .addHelpText("after", HELP)
    .action(async (name: string, { from, to, ports = [], network, ...flags }: AddFlags) => {
      const wanted: Policy = { name, from, to, ports, ...(network !== undefined && { network }) };
      const path = `/v1/policies/${encodeURIComponent(name)}`;
      const body = { policy: wanted };
      const answer = await callService(masterOf(flags), "PUT", path, z.object({ policy: policySchema }), body);
      print(flags, answer.policy, () => policyText(answer.policy));
      await warnOfLacks(masterOf(flags));
    });
  addMasterOption(policy.command("ls"))
    .description("all policies")
    .option("--json", "print JSON")
    .action(async (flags: Flags) => {
      const { policies } = await callService(masterOf(flags), "GET", "/v1/policies", policiesSchema);
      print(flags, policies, () => policiesTable(policies));
    });
  addMasterOption(policy.command("show"))
    .description("one policy")
    .argument("<name>", "as 'weft policy ls' shows it")
    .option("--json", "print JSON")
    .action(async (name: string, flags: Flags) => {
      const { policies } = await callService(masterOf(flags), "GET", "/v1/policies", policiesSchema);
      const found = policies.find((each) => each.name === name);
      if (found === undefined)
        throw new Fault("bad-request", `there is no policy ${name}; 'weft policy ls' shows them`);
      print(flags, found, () => policyText(found));
    });
  addOperatorOptions(policy.command("rm"))
    .description("remove a policy")
    .argument("<name>", "as 'weft policy ls' shows it")
    .option("--json", "print JSON")
    .action(async (name: string, flags: Flags) => {
      const path = `/v1/policies/${encodeURIComponent(name)}`;
      const answer = await callService(masterOf(flags), "DELETE", path, z.object({ removed: z.string() }));
      print(flags, answer, () => `policy ${answer.removed} is removed`);
    });
}

const COLUMNS: readonly Column[] = [
  { title: "NAME" },
  { title: "NETWORK" },
  { title: "FROM", cut: true },
  { title: "TO", cut: true },
  { title: "PORTS", cut: true },
];

export function policiesTable(policies: readonly Policy[]): string {
  const rows = policies.map(({ name, network = "all", from, to, ports }) => [
    name,
    network,
    selectorText(from),
    selectorText(to),
    policyPortsText(ports),
  ]);
  return renderTable(COLUMNS, rows);
}

export function policyText({ name, network = "all", from, to, ports }: Policy): string {
  return [
    `policy ${name}`,
    `  network  ${network}`,
    `  from     ${selectorText(from)}`,
    `  to       ${selectorText(to)}`,
    `  ports    ${policyPortsText(ports)}`,
  ].join("\n");
}

function readSelector(text: string): Selector {
  const selector = parseSelector(text);
  if (selector === undefined) throw new InvalidArgumentError("it is a list such as app=web,tier=1, each key once");
  return selector;
}

function readPorts(text: string): readonly PolicyPorts[] {
  const ports = parsePolicyPorts(text);
  if (ports === undefined) throw new InvalidArgumentError("it is a list such as tcp/5432,udp/5000-5010");
  return ports;
}

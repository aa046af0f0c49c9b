/**
 * `weft members`: who is in the gossip, and how each is, as one agent or master sees it.
 */
import { type Command, Option } from "commander";
import { type MemberJson, membersSchema } from "../gossip/members-route.ts";
import { addTlsClientOptions, type TlsClientFlags, tlsClientOf } from "../tls-options.ts";
import { callService, parseService } from "./api-client.ts";
import { type Column, minuteOf, renderTable } from "./table.ts";

const AGENT_SOCKET = "unix:/run/weft/agent.sock";

interface Flags extends TlsClientFlags {
  readonly agent: string;
  readonly master?: string;
  readonly json?: true;
}

const HELP = `
STATUS: alive; suspect: it does not answer the one that was asked; dead: others
say the same (its containers' addresses stay in place until it is removed);
left: it ended by itself. INC counts how often it contradicted that it was dead.
RTT is the way from the one that was asked and back; '*' marks its neighbours,
along which news go.

An address is unix:/PATH or http://HOST:PORT, a master's also https://HOST:PORT.
WEFT_AGENT in the environment names the agent, too.
Exit status: 0, 64 usage, 75 nobody answers, 77 no rights.`;

const COLUMNS: readonly Column[] = [
  { title: "MEMBER", cut: true },
  { title: "ADDRESS" },
  { title: "STATUS" },
  { title: "INC", align: "right" },
  { title: "RTT", align: "right" },
  { title: "SINCE", cut: true },
];

export function addMembersCommand(program: Command): void {
  addTlsClientOptions(program.command("members"))
    .description("who is in the gossip: state, incarnation, round trip, since when")
    .addOption(new Option("--agent <address>", "the agent to ask").default(AGENT_SOCKET).env("WEFT_AGENT"))
    .option("--master <address>", "a master to ask instead")
    .option("--json", "print JSON")
    .addHelpText("after", HELP)
    .action(async ({ agent, master, json, ...tls }: Flags) => {
      const service =
        master === undefined ? parseService("agent", agent) : parseService("master", master, { tls: tlsClientOf(tls) });
      const answer = await callService(service, "GET", "/v1/members", membersSchema);
      console.log(json === true ? JSON.stringify(answer, undefined, 2) : membersText(answer));
    });
}

/** One line a member, and how many are in which state. */
export function membersText({
  joined,
  members,
}: {
  readonly joined: boolean;
  readonly members: readonly MemberJson[];
}): string {
  if (members.length === 0) return "no member yet: no master has let this host in";
  const rows = members.map((member) => [
    nameOf(member),
    member.address,
    member.status,
    String(member.incarnation),
    roundTrip(member),
    minuteOf(member.since),
  ]);
  const counts = Map.groupBy(members, ({ status }) => status);
  const summary = [...counts].map(([status, all]) => `${all.length} ${status}`).join(", ");
  return `${renderTable(COLUMNS, rows)}\n\n${summary}${joined ? "" : "; not joined yet"}`;
}

/** A host's name is what people look for; two hosts may have the same one. */
function nameOf({ hostname, name, role, isSelf }: MemberJson): string {
  const shown = role === "master" ? "master" : (hostname ?? name);
  return isSelf ? `${shown} (this one)` : shown;
}

function roundTrip({ rttMs, isNeighbor, isSelf }: MemberJson): string {
  if (isSelf || rttMs === undefined) return "-";
  return `${rttMs < 10 ? rttMs.toFixed(1) : Math.round(rttMs)} ms${isNeighbor ? "*" : " "}`;
}

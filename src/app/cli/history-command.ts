/**
 * `weft events` and `weft state`: what changed in the control plane, by whom, and how it was at any revision that is kept.
 */
import { type Command, InvalidArgumentError } from "commander";
import { z } from "zod";
import { eventSchema, stateSchema } from "../master/history-routes.ts";
import { callService } from "./api-client.ts";
import { addMasterOption, type MasterFlags, masterOf } from "./master-option.ts";
import { type Column, renderTable } from "./table.ts";

interface EventFlags extends MasterFlags {
  readonly after?: number;
  readonly last: number;
  readonly changes?: true;
  readonly json?: true;
}

interface StateFlags extends MasterFlags {
  readonly at?: number;
  readonly json?: true;
}

type Event = z.infer<typeof eventSchema>;

const EVENTS_HELP = `
Each change of networks, agents, tokens and keys has a revision, and is kept
with who made it. --changes prints what each entry was before and after; of
secrets only that they changed. 'weft state --at REVISION' shows the whole.
Exit status: 0, 64 usage, 75 nobody answers.`;

const STATE_HELP = `
Prints one line for each entry: its key and its value in JSON. The difference of
two revisions is a diff of two outputs:
  diff <(weft state --at 17) <(weft state --at 21)
Exit status: 0, 64 usage or a revision that is not kept, 75 nobody answers.`;

const COLUMNS: readonly Column[] = [
  { title: "REV", align: "right" },
  { title: "TIME" },
  { title: "WHO", cut: true },
  { title: "WHAT", cut: true },
];

export function addHistoryCommands(program: Command): void {
  addMasterOption(program.command("events"))
    .description("who changed what in the cluster, the last change last")
    .option("--last <number>", "so many of the last ones", parseRevision, 20)
    .option("--after <revision>", "those after this revision instead, at most 1000", parseRevision)
    .option("--changes", "print each entry before and after, too")
    .option("--json", "print JSON")
    .addHelpText("after", EVENTS_HELP)
    .action(async (flags: EventFlags) => {
      const query = flags.after === undefined ? `limit=${flags.last}` : `after=${flags.after}&limit=1000`;
      const schema = z.object({ events: z.array(eventSchema) });
      const { events } = await callService(masterOf(flags), "GET", `/v1/events?${query}`, schema);
      print(flags, events, () => eventsText(events, flags.changes === true));
    });
  addMasterOption(program.command("state"))
    .description("all that the masters decided, now or as of a revision")
    .option("--at <revision>", "as 'weft events' shows it", parseRevision)
    .option("--json", "print JSON")
    .addHelpText("after", STATE_HELP)
    .action(async (flags: StateFlags) => {
      const path = flags.at === undefined ? "/v1/state" : `/v1/state?at=${flags.at}`;
      const state = await callService(masterOf(flags), "GET", path, stateSchema);
      print(flags, state, () => stateText(state));
    });
}

function eventsText(events: readonly Event[], withChanges: boolean): string {
  const rows = events.map(({ revision, at, who, what }) => [String(revision), at, who, what]);
  const lines = renderTable(COLUMNS, rows).split("\n");
  if (!withChanges) return lines.join("\n");
  return [lines[0], ...events.flatMap((event, n) => [lines[n + 1], ...changeLines(event)])].join("\n");
}

function changeLines({ changes }: Event): string[] {
  return changes.flatMap(({ key, before, after }) => [
    ...(before === undefined ? [] : [`  - ${key} ${JSON.stringify(before)}`]),
    ...(after === undefined ? [] : [`  + ${key} ${JSON.stringify(after)}`]),
  ]);
}

function stateText({ revision, entries }: z.infer<typeof stateSchema>): string {
  const lines = Object.entries(entries).map(([key, value]) => `${key} ${JSON.stringify(value)}`);
  return [`revision ${revision}`, ...lines].join("\n");
}

function parseRevision(text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("it is a number");
}

function print({ json }: { readonly json?: true }, value: unknown, text: () => string): void {
  console.log(json === true ? JSON.stringify(value, undefined, 2) : text());
}

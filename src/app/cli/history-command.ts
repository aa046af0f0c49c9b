/**
 * `weft events` and `weft state`: what changed in the control plane, by whom, and how it was at any revision that is kept.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { type Command, InvalidArgumentError } from "commander";
import { z } from "zod";
import { Fault } from "../../model/fault.ts";
import { eventSchema, stateSchema } from "../master/history-routes.ts";
import { callService, type Service } from "./api-client.ts";
import { type Event, eventsTitle, eventText } from "./events-text.ts";
import { addMasterOption, addOperatorOptions, type MasterFlags, masterOf } from "./master-option.ts";
import { print } from "./print.ts";

interface EventFlags extends MasterFlags {
  readonly after?: number;
  readonly last: number;
  readonly changes?: true;
  readonly follow?: true;
  readonly json?: true;
}

interface StateFlags extends MasterFlags {
  readonly at?: number;
  readonly json?: true;
}

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

/** How often --follow asks. */
const FOLLOW_MS = 1_000;
const EVENTS_AT_ONCE = 1_000;
/** What passes by itself. */
const WAITED_FOR: ReadonlySet<string> = new Set(["not-ready", "not-leader", "storage"]);

export function addHistoryCommands(program: Command): void {
  addMasterOption(program.command("events"))
    .description("who changed what in the cluster, the last change last")
    .option("--last <number>", "so many of the last ones", parseRevision, 20)
    .option("--after <revision>", "those after this revision instead, at most 1000", parseRevision)
    .option("--changes", "print each entry before and after, too")
    .option("--follow", "go on with each change as it comes, until Ctrl-C")
    .option("--json", "print JSON; with --follow one object a line")
    .addHelpText("after", EVENTS_HELP)
    .action(async (flags: EventFlags) => {
      const { after, last, changes } = flags;
      const master = masterOf(flags);
      const events = after === undefined ? await getEvents(master, `limit=${last}`) : await eventsAfter(master, after);
      if (flags.follow === true) return follow(flags, events);
      print(flags, { events }, () =>
        [eventsTitle(), ...events.map((event) => eventText(event, changes === true))].join("\n"),
      );
    });
  addOperatorOptions(program.command("state"))
    .description("all that the masters decided, now or as of a revision")
    .option("--at <revision>", "as 'weft events' shows it; for operators", parseRevision)
    .option("--json", "print JSON")
    .addHelpText("after", STATE_HELP)
    .action(async (flags: StateFlags) => {
      const path = flags.at === undefined ? "/v1/state" : `/v1/state?at=${flags.at}`;
      const state = await callService(masterOf(flags), "GET", path, stateSchema);
      print(flags, state, () => stateText(state));
    });
}

async function getEvents(master: Service, query: string): Promise<readonly Event[]> {
  const schema = z.object({ events: z.array(eventSchema) });
  return (await callService(master, "GET", `/v1/events?${query}`, schema)).events;
}

/** As many as are shown at once; an answer has fewer when they are large. */
async function eventsAfter(master: Service, after: number): Promise<readonly Event[]> {
  const events: Event[] = [];
  while (events.length < EVENTS_AT_ONCE) {
    const last = events.at(-1)?.revision ?? after;
    const more = await getEvents(master, `after=${last}&limit=${EVENTS_AT_ONCE - events.length}`);
    if (more.length === 0) break;
    events.push(...more);
  }
  return events;
}

/** Prints for as long as it runs. A master that is away is waited for: another one may begin to lead. */
async function follow(flags: EventFlags, first: readonly Event[]): Promise<never> {
  const { json, changes } = flags;
  const master = masterOf(flags);
  if (json !== true) console.log(eventsTitle());
  let last = flags.after ?? 0;
  let isAway = false;
  for (let events = first; ; ) {
    for (const event of events) {
      console.log(json === true ? JSON.stringify(event) : eventText(event, changes === true));
      last = event.revision;
    }
    if (events.length === 0) await sleep(FOLLOW_MS);
    try {
      events = await getEvents(master, `after=${last}&limit=${EVENTS_AT_ONCE}`);
      isAway = false;
    } catch (thrown) {
      if (!(thrown instanceof Fault) || !WAITED_FOR.has(thrown.code)) throw thrown;
      if (!isAway) console.error(`weft: ${thrown.message}; waiting for it`);
      isAway = true;
      events = [];
    }
  }
}

function stateText({ revision, entries }: z.infer<typeof stateSchema>): string {
  const lines = Object.entries(entries).map(([key, value]) => `${key} ${JSON.stringify(value)}`);
  return [`revision ${revision}`, ...lines].join("\n");
}

function parseRevision(text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("it is a number");
}

/**
 * What happens to a simulated cluster, as data: a list of timed steps, from a file (`npm run sim -- --scenario FILE`) or
 * made from a seed (random-scenario.ts). A phase is some chaos and then `quiet`: all faults end, and after a time in
 * which the protocol has to have settled the invariants are checked. `at` counts from the end of the last quiet.
 */
import { z } from "zod";
import { LIES } from "./hosts/lies.ts";

/** Longest phase and longest fault, ms: a mistyped number must not run for days. */
const PHASE_MS_MAX = 600_000;
const MEMBERS_MAX = 1_000;
const STEPS_MAX = 10_000;
/** Most bytes of one value: GOSSIP_OWNER_BYTES_MAX, and a little more that must be refused. */
const VALUE_BYTES_MAX = 300_000;

const at = z.number().min(0).max(PHASE_MS_MAX);
const member = z.string().regex(/^m\d{1,4}$/, "a member is named m0, m1, …");
const ms = z.number().min(1).max(PHASE_MS_MAX);
const share = z.number().min(0).max(1);
const range = z.tuple([z.number().min(0).max(10_000), z.number().min(0).max(10_000)]);
const key = z.string().min(1).max(60);

export const FORGERIES = [
  "head",
  "stranger",
  "death",
  "one-witness",
  "own-witness",
  "value",
  "omission",
  "replay",
] as const;
export type Forgery = (typeof FORGERIES)[number];

/** Of whole hosts; without masters nothing happens. */
const HOST_STEPS = [
  /** The machine starts anew, with an empty kernel and what is on its disk. */
  z.strictObject({ at, do: z.literal("reboot"), member }),
  /** The host gets another address, and its agent starts again. */
  z.strictObject({ at, do: z.literal("move"), member }),
  /** A new machine, another agent, takes over the member's address. */
  z.strictObject({ at, do: z.literal("replace"), member }),
  /** The agent, which was expelled, is let in again, with another key on another machine. */
  z.strictObject({ at, do: z.literal("readmit"), member }),
  /** Agents come for newer papers, then the masters raise the epoch floor. */
  z.strictObject({ at, do: z.literal("floor") }),
  z.strictObject({ at, do: z.literal("masters"), are: z.enum(["up", "down"]) }),
  /** The member's host is compromised until the next quiet; `removed`: somebody repeats what removed members said. */
  z.strictObject({ at, do: z.literal("lie"), member, kind: z.enum(LIES) }),
] as const;

const STEP = z.discriminatedUnion("do", [
  ...HOST_STEPS,
  z.strictObject({ at, do: z.literal("crash"), member, disk: z.enum(["kept", "lost"]) }),
  z.strictObject({ at, do: z.literal("restart"), member }),
  z.strictObject({ at, do: z.literal("leave"), member }),
  z.strictObject({ at, do: z.literal("join") }),
  z.strictObject({ at, do: z.literal("pause"), member, ms }),
  /** Of the monotonic clock, forward; what it waits in the meantime it has not done. */
  z.strictObject({ at, do: z.literal("clock-jump"), member, ms }),
  /** What arrives is handled so late; `[0, 0]` ends it. */
  z.strictObject({ at, do: z.literal("slow"), member, delayMs: range }),
  /**
   * The last `share` of all members, by number, share two processors from now on with so many other processes that never
   * rest; a packet takes so long to handle. The next quiet ends it.
   */
  z.strictObject({
    at,
    do: z.literal("squeeze"),
    share,
    busy: z.number().int().min(0).max(1_000),
    packetMs: z.number().min(0.1).max(100),
  }),
  /** Packets from one to the other are lost; not the other way. */
  z.strictObject({ at, do: z.literal("cut"), from: member, to: member }),
  /** The first `share` of all members, by number, and the rest do not hear each other. */
  z.strictObject({ at, do: z.literal("partition"), share }),
  /** Ends all cuts and partitions. */
  z.strictObject({ at, do: z.literal("heal") }),
  z.strictObject({
    at,
    do: z.literal("network"),
    loss: share.optional(),
    delayMs: range.optional(),
    duplication: share.optional(),
    reordering: share.optional(),
  }),
  z.strictObject({ at, do: z.literal("publish"), member, key, bytes: z.number().int().min(0).max(VALUE_BYTES_MAX) }),
  /** So many keys in one change. */
  z.strictObject({ at, do: z.literal("publish-many"), member, keys: z.number().int().min(1).max(1_024) }),
  z.strictObject({ at, do: z.literal("delete"), member, key }),
  z.strictObject({ at, do: z.literal("delete-all"), member }),
  /** The cluster removes the member; each other one hears of it at a time of its own, who is down after its start. */
  z.strictObject({ at, do: z.literal("expel"), member }),
  /** One that holds the cluster's key, and the keys of at most two members, lies to everybody about `member`. */
  z.strictObject({ at, do: z.literal("forge"), member, kind: z.enum(FORGERIES) }),
  /** Faults end; who is down is started, expelled, or stays dead. */
  z.strictObject({ at, do: z.literal("quiet"), dead: z.enum(["restart", "expel", "stay"]) }),
]);

const SCENARIO = z.strictObject({
  name: z.string().max(60).default("unnamed"),
  members: z.number().int().min(1).max(MEMBERS_MAX),
  /** How many of the first members all others know from the start. */
  seeds: z.number().int().min(1).max(64).default(3),
  /** How many of the first members are masters; then all others are whole hosts. 0: gossip alone. */
  masters: z.number().int().min(0).max(8).default(0),
  steps: z.array(STEP).max(STEPS_MAX),
});

export type Step = z.infer<typeof STEP>;
export type HostStep = z.infer<(typeof HOST_STEPS)[number]>;
export type Scenario = z.infer<typeof SCENARIO>;

export type ParsedScenario =
  | { readonly scenario: Scenario; readonly problems?: undefined }
  | { readonly scenario?: undefined; readonly problems: readonly string[] };

/** @returns the scenario, or one line for each thing that is wrong with the text */
export function parseScenario(text: string): ParsedScenario {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    return { problems: [`no JSON: ${(error as Error).message}`] };
  }
  const parsed = SCENARIO.safeParse(json);
  if (!parsed.success)
    return { problems: parsed.error.issues.map(({ path, message }) => `${path.join(".") || "scenario"}: ${message}`) };
  const problems = [...orderProblems(parsed.data), ...nameProblems(parsed.data)];
  return problems.length > 0 ? { problems } : { scenario: parsed.data };
}

function* orderProblems({ steps }: Scenario): Generator<string> {
  let last = 0;
  for (const [n, step] of steps.entries()) {
    if (step.at < last) yield `steps.${n}.at: ${step.at} comes before ${last}, the time of the step before it`;
    last = step.do === "quiet" ? 0 : step.at;
  }
  if (steps.at(-1)?.do !== "quiet") yield `steps: the last one must be "quiet", else nothing is checked`;
}

function* nameProblems({ members, steps }: Scenario): Generator<string> {
  let known = members;
  for (const [n, step] of steps.entries()) {
    // The last two make one only if there is somebody in whose place it comes, which the run alone can tell.
    if (["join", "replace", "readmit"].includes(step.do)) known += 1;
    for (const field of ["member", "from", "to"] as const) {
      const name = (step as Partial<Record<typeof field, string>>)[field];
      if (name !== undefined && Number(name.slice(1)) >= known)
        yield `steps.${n}.${field}: there is no ${name}; the last one is m${known - 1}`;
    }
  }
}

/**
 * `weft token create|list|revoke` and `weft gossip keys|rotate-key`: who may join the cluster, and the key of its gossip.
 */
import { type Command, InvalidArgumentError } from "commander";
import { z } from "zod";
import { keyRingViewSchema, tokenViewSchema } from "../master/views.ts";
import { callService } from "./api-client.ts";
import { addMasterOption, addOperatorOptions, type MasterFlags, masterOf } from "./master-option.ts";
import { print } from "./print.ts";
import { minuteOf, renderTable } from "./table.ts";

interface Flags extends MasterFlags {
  readonly json?: true;
}

interface CreateFlags extends Flags {
  readonly uses?: number;
  readonly ttl?: number;
  readonly note: string;
  readonly operator?: true;
}

type TokenView = z.infer<typeof tokenViewSchema>;
type KeyRingView = z.infer<typeof keyRingViewSchema>;

const UNIT_SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 };

const HELP = `
By the master's socket, as root of its host; from afar with a token of
'weft token create --operator', in the file --operator-token-file.
Exit status: 0, 1 refused, 64 usage, 75 nobody answers, 77 no rights.`;

const CREATE_HELP = `
Prints the token, this once; the master does not keep it. Write it to a file of
mode 0600 on the host that is to join, and name that file to
'weft agent --join-token-file'. It is no secret any more once it was an
argument, an environment variable or a line of a log. By the master's socket
only.

  umask 077; weft token create --uses 1 --ttl 24h > host7.token
${HELP}`;

export function addTrustCommands(program: Command): void {
  const token = program.command("token").description("who may join the cluster, and who may change it from afar");
  addMasterOption(token.command("create"))
    .description("make a token that lets hosts join")
    .option("--uses <number>", "how many agents may join by it (default: any number)", parseUses)
    .option("--ttl <time>", "how long it counts, such as 30m, 24h, 7d (default: until it is revoked)", parseTtl)
    .option("--note <text>", "what the list says of it", "")
    .option("--operator", "a token that lets operators make changes from afar, instead")
    .option("--json", "print JSON")
    .addHelpText("after", CREATE_HELP)
    .action(create);
  asking(addOperatorOptions(token.command("list")))
    .description("all tokens and what became of them, without their secrets")
    .action(async (flags: Flags) => {
      const schema = z.object({ tokens: z.array(tokenViewSchema) });
      const { tokens } = await callService(masterOf(flags), "GET", "/v1/tokens", schema);
      print(flags, tokens, () => tokensTable(tokens));
    });
  asking(addOperatorOptions(token.command("revoke")))
    .description("end a token; agents that joined by it stay")
    .argument("<id>", "as 'weft token list' shows it")
    .action(async (id: string, flags: Flags) => {
      const path = `/v1/tokens/${encodeURIComponent(id)}`;
      const view = await callService(masterOf(flags), "DELETE", path, tokenViewSchema);
      print(flags, view, () => `${view.id} is revoked`);
    });
  const gossip = program.command("gossip").description("the key that agents talk to each other with");
  asking(addMasterOption(gossip.command("keys")))
    .description("the ids of the keys, and how far a change is; never the keys")
    .action(async (flags: Flags) => {
      const view = await callService(masterOf(flags), "GET", "/v1/gossip/keys", keyRingViewSchema);
      print(flags, view, () => keysText(view));
    });
  asking(addOperatorOptions(gossip.command("rotate-key")))
    .description("begin to change the key; nothing is interrupted")
    .action(async (flags: Flags) => {
      const view = await callService(masterOf(flags), "POST", "/v1/gossip/rotate-key", keyRingViewSchema);
      print(flags, view, () => `the change has begun; 'weft gossip keys' shows how far it is\n${keysText(view)}`);
    });
}

function asking(command: Command): Command {
  return command.option("--json", "print JSON").addHelpText("after", HELP);
}

async function create(flags: CreateFlags): Promise<void> {
  const wish = {
    kind: flags.operator === true ? "operator" : "join",
    note: flags.note,
    ...(flags.uses !== undefined && { uses: flags.uses }),
    ...(flags.ttl !== undefined && { ttlSeconds: flags.ttl }),
  };
  const schema = z.object({ text: z.string(), token: tokenViewSchema });
  const answer = await callService(masterOf(flags), "POST", "/v1/tokens", schema, wish);
  print(flags, answer, () => answer.text);
}

function parseUses(text: string): number {
  if (/^[1-9]\d{0,6}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("Give a number from 1 on.");
}

/** @returns seconds */
function parseTtl(text: string): number {
  const [, number, unit] = /^([1-9]\d{0,5})([smhd])$/.exec(text) ?? [];
  const seconds = Number(number) * (UNIT_SECONDS[unit ?? ""] ?? Number.NaN);
  if (Number.isInteger(seconds)) return seconds;
  throw new InvalidArgumentError("Give a number and a unit: 30m, 24h, 7d.");
}

export function tokensTable(tokens: readonly TokenView[]): string {
  const rows = tokens.map(({ id, kind, used, uses, created, note, ...how }) => [
    id,
    kind,
    `${used}${uses === undefined ? "" : ` of ${uses}`}`,
    minuteOf(created),
    stateOf(how),
    note,
  ]);
  const columns = ["ID", "FOR", "USED", "MADE", "STATE"].map((title) => ({ title }));
  return renderTable([...columns, { title: "NOTE", cut: true }], rows);
}

/** The reason why it ended is the end of a sentence that names the token. */
function stateOf({ state, expires }: Pick<TokenView, "state" | "expires">): string {
  if (state !== "valid") return state.replace(/^(was|is|has) /, "").replace(/ \(.*/, "");
  return expires === undefined ? "valid" : `to ${minuteOf(expires)}`;
}

const PHASES: Readonly<Record<KeyRingView["phase"], string>> = {
  steady: "no change is under way",
  spreading: "a change is under way: members get the next key, and do not send with it yet",
  retiring: "a change is under way: members send with the new key, and still take the last",
};

function keysText({ phase, keys }: KeyRingView): string {
  return [PHASES[phase], ...keys.map(({ id, use }) => `key ${id}: ${use}`)].join("\n");
}

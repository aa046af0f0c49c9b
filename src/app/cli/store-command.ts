/**
 * `weft store export` and `weft store import`: the whole control plane as a file, out of a master's data directory or out
 * of etcd, and into either; for backups, and for the way from one master to several and back.
 */
import { existsSync, readFileSync, statSync } from "node:fs";
import type { Command } from "commander";
import { type ControlDump, dumpText, parseDump } from "../../core/control/dump.ts";
import { createSecretFile } from "../../io/crypto/secret-file.ts";
import type { EtcdPlace } from "../../io/store/etcd/etcd-transfer.ts";
import { STORE_FILE_MAX_BYTES } from "../../model/control-limits.ts";
import { Fault, messageOf } from "../../model/fault.ts";
import { addStoreAccessOptions, etcdChoiceOf, type StoreFlags } from "../master/store-option.ts";

interface PlaceFlags extends Omit<StoreFlags, "store"> {
  readonly dataDir?: string;
}

interface ExportFlags extends PlaceFlags {
  readonly output: string;
  readonly from?: string;
}

interface ImportFlags extends PlaceFlags {
  readonly into?: string;
  readonly replace?: true;
}

const DATA_DIR = "/var/lib/weft/master";

const HELP = `
The file has all that the masters decided, and its history. Secrets in it are
sealed with the cluster's key: it is of use only together with cluster.key of
a master's data directory, which is in no export. Keep both, each in another
place. A data directory is read and written while no master uses it; etcd is
read at any time, and written while no master leads.
Exit status: 0, 1 in use, 64 usage or something is there already, 65 a file
that is no export, or a damaged store, 74 disk or etcd, 77 no rights.`;

const MOVE_HELP = `
From one master to several on etcd, with the master stopped:
  weft store export -o cluster.json
  weft store import cluster.json --into etcd://10.0.0.5:2379
${HELP}`;

export function addStoreCommands(program: Command): void {
  const store = program.command("store").description("the cluster's whole state as a file: backup, and move");
  addPlaceOptions(store.command("export"))
    .description("write the state and its history to a file")
    .requiredOption("-o, --output <file>", "a new file; its mode is 0600")
    .option("--from <url>", "etcd://HOST:PORT[,…][/PREFIX] instead of a data directory")
    .addHelpText("after", HELP)
    .action(exportStore);
  addPlaceOptions(store.command("import"))
    .description("take a state and its history from a file")
    .argument("<file>", "as 'weft store export' wrote it")
    .option("--into <url>", "etcd://HOST:PORT[,…][/PREFIX] instead of a data directory")
    .option("--replace", "lose what is there")
    .addHelpText("after", MOVE_HELP)
    .action(importStore);
}

function addPlaceOptions(command: Command): Command {
  return addStoreAccessOptions(command.option("--data-dir <directory>", `of a master (default: "${DATA_DIR}")`));
}

async function exportStore({ output, from, ...flags }: ExportFlags): Promise<void> {
  if (existsSync(output))
    throw new Fault("bad-request", `${output} is there already; name a new file`, { path: output });
  const place = placeOf(from, "--from", flags);
  const dump = await readFrom(place);
  createSecretFile(output, dumpText(dump));
  console.log(`${output}: ${summary(dump)}; cluster.key is not in it, keep that as well`);
}

async function importStore(file: string, { into, replace, ...flags }: ImportFlags): Promise<void> {
  const place = placeOf(into, "--into", flags);
  const dump = readDump(file);
  if (typeof place === "string") {
    const { writeSqliteStore } = await import("../../io/store/sqlite-transfer.ts");
    writeSqliteStore(place, dump, replace === true);
  } else {
    const { writeEtcdStore } = await import("../../io/store/etcd/etcd-transfer.ts");
    await writeEtcdStore(place, dump, replace === true);
  }
  const where = typeof place === "string" ? place : place.text;
  console.log(`${where}: ${summary(dump)}; its masters need the cluster.key that belongs to it`);
}

async function readFrom(place: string | EtcdPlace): Promise<ControlDump> {
  if (typeof place !== "string") return (await import("../../io/store/etcd/etcd-transfer.ts")).readEtcdStore(place);
  return (await import("../../io/store/sqlite-transfer.ts")).readSqliteStore(place);
}

/** @returns a data directory, or an etcd @throws Fault bad-request, bad-config, no-rights */
function placeOf(url: string | undefined, option: string, { dataDir, ...access }: PlaceFlags): string | EtcdPlace {
  if (url !== undefined && dataDir !== undefined)
    throw new Fault("bad-request", `${option} and --data-dir name two places; give one of them`);
  const choice = etcdChoiceOf({ ...access, ...(url !== undefined && { store: url }) });
  return choice ?? dataDir ?? DATA_DIR;
}

function readDump(file: string): ControlDump {
  let text: string;
  try {
    const { size } = statSync(file);
    if (size > STORE_FILE_MAX_BYTES)
      throw new Fault("undecodable", `${file} has ${size} bytes; an export has at most ${STORE_FILE_MAX_BYTES}`);
    text = readFileSync(file, "utf8");
  } catch (thrown) {
    if (thrown instanceof Fault) throw thrown;
    throw new Fault("bad-request", `${file} cannot be read (${messageOf(thrown)})`, { path: file });
  }
  try {
    return parseDump(text);
  } catch (thrown) {
    if (thrown instanceof Fault) throw new Fault(thrown.code, `${file}: ${thrown.message}`, { path: file });
    throw thrown;
  }
}

function summary({ revision, entries, events }: ControlDump): string {
  return `revision ${revision}, ${entries.size} entries, ${events.length} events`;
}

/**
 * How the commands that ask a master name it, and what they bring to be let in: the address, certificates for an https://
 * one, and the file with an operator's token for calls from afar that change something.
 */
import { type Command, Option } from "commander";
import { readTokenFile } from "../../io/token-file.ts";
import { addTlsClientOptions, type TlsClientFlags, tlsClientOf } from "../tls-options.ts";
import { parseService, type Service } from "./api-client.ts";

const MASTER_SOCKET = "unix:/run/weft/master.sock";

export interface MasterFlags extends TlsClientFlags {
  readonly master: string;
  readonly operatorTokenFile?: string;
}

/** Adds --master and the options for TLS. */
export function addMasterOption(command: Command): Command {
  const option = new Option("--master <address>", "the master to ask").default(MASTER_SOCKET).env("WEFT_MASTER");
  return addTlsClientOptions(command.addOption(option));
}

/** As `addMasterOption`, for commands that change something. */
export function addOperatorOptions(command: Command): Command {
  const option = new Option("--operator-token-file <file>", "holds an operator's token, to be let in from afar");
  return addMasterOption(command).addOption(option.env("WEFT_OPERATOR_TOKEN_FILE"));
}

/** @throws Fault bad-request, bad-config, no-rights */
export function masterOf({ master, operatorTokenFile, ...tls }: MasterFlags): Service {
  const operator =
    operatorTokenFile === undefined ? undefined : readTokenFile(operatorTokenFile, "operator", "--operator-token-file");
  return parseService("master", master, { tls: tlsClientOf(tls), operator });
}

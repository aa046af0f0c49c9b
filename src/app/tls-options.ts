/**
 * The options by which a program brings certificates of an operator's own authority: what they are called, and how the
 * files are read. A private key that others may read is refused.
 */
import { readFileSync } from "node:fs";
import { type Command, Option } from "commander";
import { readSecretFile } from "../io/crypto/secret-file.ts";
import type { TlsServer } from "../io/http-server.ts";
import type { TlsClient } from "../io/master-call.ts";
import { Fault, messageOf } from "../model/fault.ts";

export interface TlsClientFlags {
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly tlsCa?: string;
}

/** Adds --tls-ca, --tls-cert and --tls-key, for calls to a master at an https:// address. */
export function addTlsClientOptions(command: Command): Command {
  return command
    .addOption(new Option("--tls-ca <file>", "authority that signed the master's certificate").env("WEFT_TLS_CA"))
    .addOption(new Option("--tls-cert <file>", "certificate to show the master").env("WEFT_TLS_CERT"))
    .addOption(new Option("--tls-key <file>", "its private key").env("WEFT_TLS_KEY"));
}

export interface TlsServerFlags {
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly tlsClientCa?: string;
}

/** Adds --tls-cert, --tls-key and --tls-client-ca, for a master that serves https. */
export function addTlsServerOptions(command: Command): Command {
  return command
    .option("--tls-cert <file>", "serve https, with this certificate")
    .option("--tls-key <file>", "its private key, mode 0600")
    .option("--tls-client-ca <file>", "authority whose certificates let agents join without a token");
}

/** @returns `undefined` when none of them is given @throws Fault bad-config, no-rights */
export function tlsServerOf({ tlsCert, tlsKey, tlsClientCa }: TlsServerFlags): TlsServer | undefined {
  const pair = keyPairOf(tlsCert, tlsKey);
  if (pair !== undefined)
    return { ...pair, ...(tlsClientCa !== undefined && { clientCa: readPem("--tls-client-ca", tlsClientCa) }) };
  if (tlsClientCa === undefined) return undefined;
  throw new Fault("bad-config", "--tls-client-ca is of no use without --tls-cert and --tls-key; give all three");
}

/** @returns `undefined` when none of them is given @throws Fault bad-config, no-rights */
export function tlsClientOf({ tlsCert, tlsKey, tlsCa }: TlsClientFlags): TlsClient | undefined {
  if (tlsCert === undefined && tlsKey === undefined && tlsCa === undefined) return undefined;
  return { ...keyPairOf(tlsCert, tlsKey), ...(tlsCa !== undefined && { ca: readPem("--tls-ca", tlsCa) }) };
}

/** @throws Fault bad-config when one of the two is missing or cannot be read; no-rights */
function keyPairOf(
  cert: string | undefined,
  key: string | undefined,
): { readonly cert: string; readonly key: string } | undefined {
  if (cert === undefined && key === undefined) return undefined;
  if (cert === undefined || key === undefined)
    throw new Fault("bad-config", "--tls-cert and --tls-key go together; give both");
  const text = readSecretFile(key);
  if (text === undefined) throw new Fault("bad-config", `--tls-key: there is no file ${key}`, { path: key });
  return { cert: readPem("--tls-cert", cert), key: text };
}

/** @throws Fault bad-config */
export function readPem(option: string, path: string): string {
  const refused = (why: string) =>
    new Fault("bad-config", `${option}: ${path} ${why}; name a file with a certificate in PEM`, { path });
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (thrown) {
    throw refused(`cannot be read (${messageOf(thrown).replace(/, open '.*'$/, "")})`);
  }
  if (!text.includes("-----BEGIN CERTIFICATE-----")) throw refused("holds no certificate");
  return text;
}

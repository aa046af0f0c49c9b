/**
 * The options by which a master finds the store that it shares with others: `--store` with its files, its user, and the
 * file that holds the password. Nothing secret is an argument, and a password goes over TLS or stays on this host.
 */
import type { Command } from "commander";
import { readSecretFile } from "../../io/crypto/secret-file.ts";
import type { TlsClient } from "../../io/master-call.ts";
import type { EtcdAccess } from "../../io/store/etcd/etcd-client.ts";
import { type EtcdUrl, parseEtcdUrl } from "../../io/store/etcd/etcd-url.ts";
import { Fault } from "../../model/fault.ts";
import { readPem } from "../tls-options.ts";

export interface StoreFlags {
  readonly store?: string;
  readonly storeCa?: string;
  readonly storeCert?: string;
  readonly storeKey?: string;
  readonly storeUser?: string;
  readonly storePasswordFile?: string;
}

export interface EtcdChoice extends EtcdAccess {
  readonly prefix: string;
  /** For logs: without user and password. */
  readonly text: string;
}

export function addStoreOptions(command: Command): Command {
  const what = "etcd://HOST:PORT[,…][/PREFIX]: where several masters share the cluster's state";
  return addStoreAccessOptions(command.option("--store <url>", what));
}

/** How etcd is spoken to, wherever its address is given. */
export function addStoreAccessOptions(command: Command): Command {
  return command
    .option("--store-ca <file>", "authority that signed etcd's certificate")
    .option("--store-cert <file>", "certificate to show etcd")
    .option("--store-key <file>", "its private key, mode 0600")
    .option("--store-user <name>", "user of etcd")
    .option("--store-password-file <file>", "file with that user's password, mode 0600");
}

/** @returns `undefined` without `--store`: the state is in the data directory @throws Fault bad-request, bad-config, no-rights */
export function etcdChoiceOf(flags: StoreFlags): EtcdChoice | undefined {
  const { store } = flags;
  if (store === undefined) {
    const [extra] = Object.keys(flags).filter((name) => /^store[A-Z]/.test(name));
    if (extra === undefined) return undefined;
    throw new Fault("bad-request", "options that begin with --store- are of no use without --store; give it as well");
  }
  const url = parseEtcdUrl(store);
  const tls = tlsOf(flags, url);
  const credentials = credentialsOf(flags, url, tls !== undefined);
  const { endpoints, prefix } = url;
  const text = tls === undefined ? url.text : url.text.replace(/^etcd:/, "etcds:");
  return { endpoints, prefix, text, ...(tls && { tls }), ...(credentials && { credentials }) };
}

function tlsOf({ storeCa, storeCert, storeKey }: StoreFlags, { isSecure, files }: EtcdUrl): TlsClient | undefined {
  const ca = storeCa ?? files.ca;
  const cert = storeCert ?? files.cert;
  const key = storeKey ?? files.key;
  if (!isSecure && ca === undefined && cert === undefined && key === undefined) return undefined;
  if ((cert === undefined) !== (key === undefined))
    throw new Fault("bad-config", "--store-cert and --store-key go together; give both");
  const secret = key === undefined ? undefined : required("--store-key", key);
  return {
    ...(ca !== undefined && { ca: readPem("--store-ca", ca) }),
    ...(cert !== undefined && { cert: readPem("--store-cert", cert) }),
    ...(secret !== undefined && { key: secret }),
  };
}

function credentialsOf(
  { storeUser, storePasswordFile }: StoreFlags,
  { user = storeUser, endpoints }: EtcdUrl,
  isSecure: boolean,
): EtcdAccess["credentials"] {
  if (user === undefined && storePasswordFile === undefined) return undefined;
  if (user === undefined || storePasswordFile === undefined)
    throw new Fault("bad-config", "--store-user and --store-password-file go together; give both");
  if (!isSecure && !endpoints.every(({ host }) => isLoopback(host)))
    throw new Fault(
      "bad-config",
      "the password would travel to etcd in the clear; name it etcds://, with --store-ca where its certificates need it",
    );
  const password = required("--store-password-file", storePasswordFile).replace(/\r?\n$/, "");
  if (password !== "") return { user, password };
  throw new Fault("bad-config", `--store-password-file: ${storePasswordFile} is empty; write the password to it`);
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(\.\d+){3}$/.test(host);
}

function required(option: string, path: string): string {
  const text = readSecretFile(path);
  if (text !== undefined) return text;
  throw new Fault("bad-config", `${option}: there is no file ${path}`, { path });
}

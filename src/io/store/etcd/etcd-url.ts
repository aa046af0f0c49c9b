/**
 * Where a cluster's etcd is, as an operator writes it: `etcd://HOST:PORT[,HOST:PORT…][/PREFIX]`, `etcds://` for TLS, with
 * `?ca=FILE&cert=FILE&key=FILE` where its certificates are of the operator's own authority. A password never is in it:
 * arguments are seen by every user of a host, and URLs end in logs.
 */
import { Fault } from "../../../model/fault.ts";

export interface EtcdEndpoint {
  readonly host: string;
  readonly port: number;
}

export interface EtcdUrl {
  readonly endpoints: readonly EtcdEndpoint[];
  readonly isSecure: boolean;
  /** All keys begin so: `/weft`. Two clusters of Weft in one etcd have two. */
  readonly prefix: string;
  readonly user?: string;
  readonly files: { readonly ca?: string; readonly cert?: string; readonly key?: string };
  /** For logs and messages. */
  readonly text: string;
}

const DEFAULT_PORT = 2379;
const DEFAULT_PREFIX = "/weft";
const FORM = /^(etcds?):\/\/(?:([^@/?]*)@)?([^/?]+)(\/[^?]*)?(?:\?(.*))?$/i;
const HOST = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::(\d{1,5}))?$/i;
const PREFIX = /^(?:\/[a-z0-9._-]+)+$/i;
const FILES = ["ca", "cert", "key"] as const;

/** Whether `--store` names an etcd at all. */
export function isEtcdUrl(text: string): boolean {
  return /^etcds?:/i.test(text);
}

/** @throws Fault bad-request */
export function parseEtcdUrl(text: string): EtcdUrl {
  const [, scheme, user, hosts, path, query] = FORM.exec(text) ?? [];
  if (user?.includes(":") || /:\/\/[^/?]*:[^/?]*@/.test(text)) throw passwordInUrl();
  const endpoints = hosts?.split(",").map(endpointOf);
  const prefix = (path ?? "").replace(/\/+$/, "") || DEFAULT_PREFIX;
  const found = endpoints?.filter((endpoint) => endpoint !== undefined);
  if (scheme === undefined || found === undefined || found.length !== endpoints?.length || !PREFIX.test(prefix))
    throw malformed(text);
  const files = filesOf(new URLSearchParams(query ?? ""), text);
  const isSecure = scheme.toLowerCase() === "etcds" || Object.keys(files).length > 0;
  const shownHosts = found.map(endpointText).join(",");
  return {
    endpoints: found,
    isSecure,
    prefix,
    ...(user && { user: decodeURIComponent(user) }),
    files,
    text: `${isSecure ? "etcds" : "etcd"}://${shownHosts}${prefix === DEFAULT_PREFIX ? "" : prefix}`,
  };
}

export function endpointText({ host, port }: EtcdEndpoint): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

function endpointOf(text: string): EtcdEndpoint | undefined {
  const [, ip6, name, portText] = HOST.exec(text) ?? [];
  const host = ip6 ?? name;
  const port = portText === undefined ? DEFAULT_PORT : Number(portText);
  return host !== undefined && port > 0 && port <= 65_535 ? { host, port } : undefined;
}

function filesOf(query: URLSearchParams, text: string): EtcdUrl["files"] {
  const names = [...query.keys()];
  if (names.some((name) => name === "password" || name === "pass")) throw passwordInUrl();
  if (names.some((name) => !FILES.some((known) => known === name))) throw malformed(text);
  return Object.fromEntries(FILES.flatMap((name) => (query.get(name) ? [[name, query.get(name)]] : [])));
}

/** Without the URL: there is a secret in it. */
function passwordInUrl(): Fault {
  return new Fault(
    "bad-request",
    "--store has a password in it, which every user of this host can see; write it to a file of mode 0600, name that with " +
      "--store-password-file, and change the password",
  );
}

function malformed(text: string): Fault {
  return new Fault(
    "bad-request",
    `--store '${text}' is no address of an etcd; give etcd://HOST:PORT[,HOST:PORT…][/PREFIX], or etcds:// for TLS, with ` +
      "?ca=FILE&cert=FILE&key=FILE where its certificates need them",
  );
}

/**
 * Tokens as files: never as arguments, which every user of a host sees in its list of processes.
 */
import { Fault } from "../model/fault.ts";
import { parseToken, type Token, type TokenKind } from "../model/trust/token.ts";
import { readSecretFile } from "./crypto/secret-file.ts";

/**
 * @param option how the file is named on the command line, for the fault
 * @throws Fault bad-request when the file is missing or holds no token of this kind; no-rights when others may read it
 */
export function readTokenFile(path: string, kind: TokenKind, option: string): Token {
  // The path itself is not shown: it may be the secret.
  if (parseToken(path) !== undefined)
    throw new Fault(
      "bad-request",
      `${option} wants the name of a file, and got a token: arguments are seen by every user of this host. Write it to a ` +
        "file of mode 0600, and revoke this one",
    );
  const text = readSecretFile(path);
  if (text === undefined)
    throw new Fault("bad-request", `${option}: there is no file ${path}; copy the token of the master there`, { path });
  const token = parseToken(text);
  if (token?.kind === kind) return token;
  const what = token === undefined ? "no token" : `a token for ${token.kind === "join" ? "agents" : "operators"}`;
  throw new Fault(
    "bad-request",
    `${option}: ${path} holds ${what}; it must hold one line weft-${kind}-…, as 'weft token create' prints it`,
    { path },
  );
}

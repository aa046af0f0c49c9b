/**
 * The files of a master that nobody else may read: the cluster's signing key, the master's own key as a member, and the
 * join token of the first start. Whoever has `cluster.key` is the cluster; it belongs in the backup.
 */
import { join } from "node:path";
import { keyOfSigner } from "../../io/crypto/keys.ts";
import { createSecretFile, readSecretFile, signerInFile } from "../../io/crypto/secret-file.ts";
import { Fault } from "../../model/fault.ts";
import { memberIdOf } from "../../model/trust/member.ts";
import { formatToken, parseToken, type Token } from "../../model/trust/token.ts";
import type { MasterSecrets } from "./cluster-trust.ts";
import { newToken } from "./tokens.ts";

const IDENTITY = "identity.key";

/**
 * Opens the keys in the data directory, and makes those that are missing.
 * @param isNew whether the cluster begins now: the key of one that has agents is not made up anew, they would not know it
 * @throws Fault no-rights, storage, corrupt-store
 */
export function secretsIn(dataDir: string, isNew: boolean): MasterSecrets {
  const clusterKey = join(dataDir, "cluster.key");
  if (!isNew && readSecretFile(clusterKey) === undefined)
    throw new Fault(
      "corrupt-store",
      `${clusterKey} is missing, and agents know this cluster by it; restore it from a backup, or copy it from another master. Without ` +
        "one move master.db away as well, and let every agent join anew with --new-cluster",
      { path: clusterKey },
    );
  const cluster = signerInFile(clusterKey);
  return {
    cluster,
    storeKey: keyOfSigner(readSecretFile(clusterKey) ?? "", "weft store"),
    member: signerInFile(join(dataDir, IDENTITY)),
    firstToken: () => firstToken(join(dataDir, "join-token")),
  };
}

/** How this master is called among the others. @throws as `secretsIn` */
export function masterIdIn(dataDir: string): string {
  return `master-${memberIdOf(signerInFile(join(dataDir, IDENTITY)).publicKey)}`;
}

/** The one in the file, put there by an operator or by a start that did not come to its end; else a new one. */
function firstToken(path: string): Token {
  const text = readSecretFile(path);
  if (text === undefined) {
    const token = newToken("join");
    createSecretFile(path, `${formatToken(token)}\n`);
    return token;
  }
  const token = parseToken(text);
  if (token?.kind === "join") return token;
  throw new Fault("bad-config", `${path} holds no join token; remove the file, and the master makes one`, { path });
}

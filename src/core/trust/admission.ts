/**
 * Who may register as which agent. An agent's id belongs to the first key that registered with it, until the agent is
 * removed. A key that is not known yet needs somebody to vouch for it: a join token, a client certificate that the
 * master's own authority signed, or the master's own socket, which only root of its host can open.
 *
 * Who was removed comes back by a token that was made afterwards, and by nothing that it may have kept.
 */
import { Fault } from "../../model/fault.ts";
import type { MemberRecord } from "../../model/trust/membership.ts";
import type { Removal } from "../../model/trust/removal.ts";
import type { TokenRecord } from "../../model/trust/token.ts";

export interface Applicant {
  readonly agentId: string;
  /** Base64url. */
  readonly publicKey: string;
  readonly memberId: string;
}

/** Who speaks for a key that is not known: a token that the applicant proved to hold, or the way by which it came. */
export type Voucher =
  | { readonly type: "token"; readonly token: TokenRecord }
  | { readonly type: "certificate" }
  | { readonly type: "socket" }
  | { readonly type: "nobody" };

export interface KnownMembers {
  readonly ofAgent: MemberRecord | undefined;
  readonly ofKey: MemberRecord | undefined;
  readonly removals: readonly Removal[];
  /** The master's wall clock: for the life of tokens. */
  readonly date: string;
}

/**
 * @returns `true` when the applicant is known by its key; `false` when it is let in by its voucher, which counts as a use
 * @throws Fault not-admitted
 */
export function isMember(applicant: Applicant, voucher: Voucher, known: KnownMembers): boolean {
  const { agentId, publicKey } = applicant;
  if (known.ofAgent?.publicKey === publicKey) return true;
  if (known.ofAgent !== undefined)
    throw refused(
      applicant,
      `agent ${agentId} has another identity key than the one that registers; restore identity.key on that host, ` +
        "or remove the agent here and let it join again",
    );
  const removal = known.removals.findLast((each) => each.agentId === agentId || each.memberId === applicant.memberId);
  switch (voucher.type) {
    case "socket":
      return false;
    case "token":
      refuseToken(applicant, voucher.token, known, removal);
      return false;
    case "certificate":
      if (removal === undefined) return false;
      throw wasRemoved(applicant);
    case "nobody":
      if (removal !== undefined) throw wasRemoved(applicant);
      throw refused(
        applicant,
        `agent ${agentId} is not known here, and nothing vouches for it; give it a join token with --join-token-file`,
      );
  }
}

/**
 * One key is one member: it may come under another id only in the place of the record that it has.
 * @param replaced the id of the record that the applicant takes over, if it does
 * @throws Fault not-admitted
 */
export function refuseSecondId(
  applicant: Applicant,
  ofKey: MemberRecord | undefined,
  replaced: string | undefined,
): void {
  if (ofKey === undefined || ofKey.agentId === applicant.agentId || ofKey.agentId === replaced) return;
  throw refused(
    applicant,
    `the identity key of agent ${applicant.agentId} is that of agent ${ofKey.agentId}; if its disk is a copy, ` +
      "remove its data directory",
  );
}

/** @returns why a token does not count any more, as the end of a sentence, or `undefined` */
export function tokenProblem({ revoked, expires, uses, used }: TokenRecord, date: string): string | undefined {
  if (revoked) return "was revoked";
  // Both are RFC 3339 in UTC to the second, which sorts as text.
  if (expires !== undefined && expires <= date) return `has expired (${expires})`;
  if (uses !== undefined && used >= uses) return `is used up (${used} of ${uses})`;
  return undefined;
}

function refuseToken(
  applicant: Applicant,
  token: TokenRecord,
  { date }: KnownMembers,
  removal: Removal | undefined,
): void {
  if (token.kind !== "join")
    throw refused(applicant, `token ${token.id} is an operator's; give agents one of 'weft token create'`);
  const problem = tokenProblem(token, date);
  if (problem !== undefined)
    throw refused(applicant, `join token ${token.id} ${problem}; make another one with 'weft token create'`);
  if (removal !== undefined && token.epoch <= removal.epoch) throw wasRemoved(applicant);
}

function wasRemoved(applicant: Applicant): Fault {
  return refused(
    applicant,
    `agent ${applicant.agentId} was removed from this cluster; to let it in again give it a token that is made now, ` +
      "with 'weft token create'",
  );
}

function refused({ agentId }: Applicant, message: string): Fault {
  return new Fault("not-admitted", message, { agent: agentId });
}

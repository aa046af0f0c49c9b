/**
 * The tokens of a cluster: made, listed, revoked and counted. What is shown of them never holds a secret; the text of a
 * token is given out once, when it is made, and is not kept.
 *
 * The wall clock decides when a token ends, and nothing else in Weft: "until tomorrow" means a day of people, across
 * restarts, which no monotonic clock survives. Only the master's own clock counts, so hosts need not agree on the time.
 */
import { tokenProblem } from "../../core/trust/admission.ts";
import { later } from "../../io/clock.ts";
import { tokenKeyOf } from "../../io/crypto/call-keys.ts";
import { newSecret } from "../../io/crypto/keys.ts";
import type { Clock } from "../../io/ports.ts";
import { Fault } from "../../model/fault.ts";
import { TOKENS_MAX } from "../../model/limits.ts";
import { toText } from "../../model/trust/bytes.ts";
import { formatToken, SECRET_BYTES, type Token, type TokenKind, type TokenRecord } from "../../model/trust/token.ts";
import type { ControlRecords } from "./control-records.ts";

export interface TokenWish {
  readonly kind: TokenKind;
  readonly note: string;
  /** How many agents may join by it; absent: any number. */
  readonly uses?: number;
  /** Absent: it does not end. */
  readonly ttlSeconds?: number;
}

/** A token as it may be shown. */
export interface TokenView extends Omit<TokenRecord, "key" | "epoch"> {
  /** `valid`, or why it does not count any more. */
  readonly state: string;
}

export interface TokensDeps {
  readonly records: Pick<ControlRecords, "putToken" | "deleteToken" | "change">;
  readonly clock: Clock;
}

const ID_LETTERS = "abcdefghijklmnopqrstuvwxyz234567";
const ID_LENGTH = 8;

export function newToken(kind: TokenKind): Token {
  const id = [...newSecret(ID_LENGTH)].map((byte) => ID_LETTERS[byte % ID_LETTERS.length]).join("");
  return { kind, id, secret: newSecret(SECRET_BYTES) };
}

export class Tokens {
  readonly #records = new Map<string, TokenRecord>();
  readonly #deps: TokensDeps;

  constructor(records: readonly TokenRecord[], deps: TokensDeps) {
    for (const record of records) this.#records.set(record.id, record);
    this.#deps = deps;
  }

  withId(id: string): TokenRecord | undefined {
    return this.#records.get(id);
  }

  list(): readonly TokenView[] {
    return [...this.#records.values()].map((record) => this.#view(record));
  }

  /** @param epoch the cluster's, now @returns its text, which is not kept @throws Fault exhausted, storage */
  create(wish: TokenWish, epoch: number, who: string): { readonly text: string; readonly view: TokenView } {
    const token = newToken(wish.kind);
    const record = this.recordOf(token, wish, epoch);
    const dead = this.#records.size >= TOKENS_MAX ? this.#oldestDead() : undefined;
    this.#deps.records.change({ who, what: `${record.kind} token ${record.id} made` }, () => {
      if (dead !== undefined) this.#deps.records.deleteToken(dead);
      this.#deps.records.putToken(record);
    });
    if (dead !== undefined) this.#records.delete(dead);
    this.#records.set(record.id, record);
    return { text: formatToken(token), view: this.#view(record) };
  }

  /** A record as `create` makes it, which is not stored. */
  recordOf({ id, kind, secret }: Token, { note, uses, ttlSeconds }: TokenWish, epoch: number): TokenRecord {
    const created = this.#deps.clock.date();
    return {
      id,
      kind,
      key: toText(tokenKeyOf(secret)),
      note,
      created,
      ...(ttlSeconds !== undefined && { expires: later(created, ttlSeconds) }),
      ...(uses !== undefined && { uses }),
      used: 0,
      epoch,
      revoked: false,
    };
  }

  /** @throws Fault bad-request for a token that is not known; storage */
  revoke(id: string, who: string): TokenView {
    const record = this.#records.get(id);
    if (record === undefined)
      throw new Fault("bad-request", `there is no token ${id}; 'weft token list' shows those there are`, { token: id });
    const revoked = { ...record, revoked: true };
    this.#deps.records.change({ who, what: `token ${id} revoked` }, () => this.#deps.records.putToken(revoked));
    this.#records.set(id, revoked);
    return this.#view(revoked);
  }

  /** Takes over what has been stored. */
  put(record: TokenRecord): void {
    this.#records.set(record.id, record);
  }

  /** Does it still open anything? */
  isValid(record: TokenRecord): boolean {
    return tokenProblem(record, this.#deps.clock.date()) === undefined;
  }

  #oldestDead(): string {
    for (const record of this.#records.values()) if (!this.isValid(record)) return record.id;
    throw new Fault("exhausted", `${TOKENS_MAX} tokens are valid; revoke some that are not needed`);
  }

  #view({ key: _, epoch: __, ...shown }: TokenRecord): TokenView {
    const record = this.#records.get(shown.id) as TokenRecord;
    return { ...shown, state: tokenProblem(record, this.#deps.clock.date()) ?? "valid" };
  }
}

/**
 * The book's entries as what they are: agents, networks, members, tokens, epochs, keys. Each kind has its keys, its schema
 * and its order here and nowhere else. Secrets are sealed (entry-seal.ts).
 */
import { z } from "zod";
import { parseNetworkSource } from "../../core/config/cluster-config.ts";
import type { AgentRecord, RestingItem } from "../../model/cluster.ts";
import { Fault, messageOf } from "../../model/fault.ts";
import type { Ip } from "../../model/ip.ts";
import { GOSSIP_ADDRESS_MAX_LENGTH } from "../../model/limits.ts";
import type { AgentRules, Elastic } from "../../model/network.ts";
import type { NetworkSource } from "../../model/network-source.ts";
import { type Policy, policySchema } from "../../model/policy.ts";
import { type Claim, claimSchema, type Reservation, reservationSchema } from "../../model/reservation.ts";
import { agentRecordSchema, elasticSchema, issuesOf, restingItemSchema, rulesSchema } from "../../model/schemas.ts";
import { type Shortage, shortageKey, shortageSchema } from "../../model/shortage.ts";
import type { EpochRecord } from "../../model/trust/epoch-record.ts";
import { type KeyRing, keyRingSchema, type StoredGossipKey } from "../../model/trust/key-ring.ts";
import {
  epochRecordSchema,
  type MemberRecord,
  memberRecordSchema,
  removalSchema,
} from "../../model/trust/membership.ts";
import { type TokenRecord, tokenRecordSchema } from "../../model/trust/token.ts";
import type { Book, Deed } from "./book.ts";
import { EntrySeal } from "./entry-seal.ts";

/** The cluster's public key: which `cluster.key` all of this belongs to. */
export const IDENTITY = "identity";
const SETTINGS = "settings";
const CLUSTER = "cluster";
const NETWORK = "network/";
const AGENT = "agent/";
const RESTING = "resting/";
/** All that rests, as versions up to 0.1.0 kept it. */
const RESTING_BEFORE = "resting";
const GOSSIP = "gossip";
const POLICY = "policy/";
const RESERVATION = "reservation/";
const CLAIM = "claim/";
const SHORTAGE = "shortage/";
const CLAIM_REVISION = "claim-revision";
const MEMBER = "member/";
const TOKEN = "token/";
const EPOCHS = "epochs";
const REMOVAL = "removal/";
const KEY_RING = "key-ring";

/** Whom the cluster trusts, and by what. The two facts are absent at first. */
export interface StoredTrust {
  readonly members: readonly MemberRecord[];
  readonly tokens: readonly TokenRecord[];
  readonly epochs?: EpochRecord;
  readonly keyRing?: KeyRing;
}

/** What a configuration file says beside its networks, and which file was laid over the store last. */
export interface ClusterSettings {
  readonly overlayMtu?: number;
  readonly enableIpv6: boolean;
  readonly defaultNetwork?: string;
  readonly elastic?: Elastic;
  readonly agents?: AgentRules;
  /** A digest of all that was read of the file. */
  readonly file: string;
  /** What of it is not in force, one sentence each. */
  readonly refused: readonly string[];
}

/** A claim, and whose it is. */
export interface StoredClaim extends Claim {
  readonly agent: string;
}

export interface StoredReservations {
  readonly reservations: readonly Reservation[];
  readonly claims: readonly StoredClaim[];
  readonly revision: number;
}

const storedClaimSchema: z.ZodType<StoredClaim> = z.intersection(claimSchema, z.object({ agent: z.string() }));
const settingsSchema: z.ZodType<ClusterSettings> = z.object({
  overlayMtu: z.int().optional(),
  enableIpv6: z.boolean(),
  defaultNetwork: z.string().optional(),
  elastic: elasticSchema.optional(),
  agents: rulesSchema.optional(),
  file: z.string(),
  refused: z.array(z.string()),
});
const identitySchema = z.object({ clusterKey: z.string() });
const gossipSchema = z.object({ addresses: z.array(z.string().max(GOSSIP_ADDRESS_MAX_LENGTH)) });
const agentEntrySchema = z.object({ record: agentRecordSchema });

/** Changes are made inside of `change`; what is read is checked, and damage is a fault that names the entry. */
export class ControlRecords {
  readonly #book: Book;
  readonly #seal: EntrySeal;
  /** What was saved last, as it came: thousands of items rest, and are saved again with every one that comes or goes. */
  readonly #saved = new Map<string, ReadonlyMap<string, unknown>>();
  #savedResting: ReadonlySet<RestingItem> | undefined;
  /** Above the order of every entry. */
  #order = 0;

  /** @param storeKey 32 bytes */
  constructor(book: Book, storeKey: Uint8Array) {
    this.#book = book;
    this.#seal = new EntrySeal(storeKey);
    for (const kind of [NETWORK, AGENT, TOKEN, RESTING])
      for (const [, value] of book.under(kind)) this.#order = Math.max(this.#order, orderOf(value) + 1);
  }

  /** As `Book.change`. */
  change(deed: Deed, make: () => void): void {
    try {
      this.#book.change(deed, make);
    } catch (thrown) {
      this.#saved.clear();
      this.#savedResting = undefined;
      throw thrown;
    }
  }

  /** As `Book.whenDurable`. */
  whenDurable(call: () => void): void {
    this.#book.whenDurable(call);
  }

  // ---- networks ------------------------------------------------------------------------------------------------------

  /** The effective configuration in the file's own form; `undefined` at first. @throws Fault corrupt-store */
  network(): NetworkSource | undefined {
    const settings = this.#book.get(SETTINGS);
    if (settings === undefined) return undefined;
    const overlays = this.#inOrder(NETWORK).map(([, value]) => {
      const { order: _, ...overlay } = value as { readonly order: number };
      return overlay;
    });
    try {
      return parseNetworkSource({ ...(settings as object), overlays });
    } catch (thrown) {
      throw damaged("the network configuration", messageOf(thrown), thrown);
    }
  }

  /** What is in force besides the networks; `undefined` at first, and in a store from before it was kept. */
  settings(): ClusterSettings | undefined {
    const value = this.#book.get(CLUSTER);
    return value === undefined ? undefined : decoded(settingsSchema, value, CLUSTER);
  }

  saveSettings(settings: ClusterSettings): void {
    this.#book.put(CLUSTER, settings);
  }

  /** Orders have gaps: what stays in its place is not written again because something before it went. */
  saveNetwork({ overlays, ...settings }: NetworkSource): void {
    this.#book.put(SETTINGS, settings);
    let order = -1;
    const ordered = overlays.map((overlay) => {
      const known = this.#book.get(NETWORK + overlay.name);
      order = Math.max(order + 1, known === undefined ? 0 : orderOf(known));
      return [overlay.name, { order, ...overlay }] as const;
    });
    this.#saveAll(NETWORK, new Map(ordered));
  }

  // ---- agents --------------------------------------------------------------------------------------------------------

  /** In the order in which they were added. @throws Fault corrupt-store */
  agents(): readonly AgentRecord[] {
    return this.#inOrder(AGENT).map(([id, value]) => decoded(agentEntrySchema, value, AGENT + id).record);
  }

  /** Adds the agent, or puts it in the place of the one with the id `replaces` (by default its own). */
  putAgent(record: AgentRecord, replaces = record.id): void {
    const order = this.#orderOf(AGENT + replaces);
    if (replaces !== record.id) this.#book.delete(AGENT + replaces);
    this.#book.put(AGENT + record.id, { order, record });
  }

  deleteAgent(id: string): void {
    this.#book.delete(AGENT + id);
  }

  /** What was given back and is not given again yet, in the order in which it was. @throws Fault corrupt-store */
  resting(): readonly RestingItem[] {
    const before = decoded(z.array(restingItemSchema), this.#book.get(RESTING_BEFORE) ?? [], RESTING_BEFORE);
    const items = this.#inOrder(RESTING).map(([id, value]) => decoded(restingItemSchema, value, RESTING + id));
    if (before.length === 0) this.#savedResting = new Set(items);
    return [...before, ...items];
  }

  /** Each item is an entry of its own, as each removal is. Who gets back what it had gets it back in its order. */
  saveResting(resting: readonly RestingItem[]): void {
    const now = new Set(resting);
    const before = this.#savedResting;
    const entryOf = (item: RestingItem) => [item.item, { order: this.#orderOf(RESTING + item.item), ...item }] as const;
    this.#book.delete(RESTING_BEFORE);
    if (before === undefined) this.#saveAll(RESTING, new Map(resting.map(entryOf)));
    for (const item of before ?? []) if (!now.has(item)) this.#book.delete(RESTING + item.item);
    for (const item of now) if (before?.has(item) === false) this.#book.put(RESTING + item.item, entryOf(item)[1]);
    this.#savedResting = now;
  }

  // ---- policies, shortages -------------------------------------------------------------------------------------------

  /** @throws Fault corrupt-store */
  policies(): readonly Policy[] {
    return [...this.#book.under(POLICY)].map(([name, value]) => decoded(policySchema, value, POLICY + name));
  }

  putPolicy(policy: Policy): void {
    this.#book.put(POLICY + policy.name, policy);
  }

  deletePolicy(name: string): void {
    this.#book.delete(POLICY + name);
  }

  /** Those that last. @throws Fault corrupt-store */
  shortages(): readonly Shortage[] {
    return [...this.#book.under(SHORTAGE)].map(([key, value]) => decoded(shortageSchema, value, SHORTAGE + key));
  }

  putShortage(shortage: Shortage): void {
    this.#book.put(SHORTAGE + shortageKey(shortage), shortage);
  }

  /** @param key of `shortageKey` */
  deleteShortage(key: string): void {
    this.#book.delete(SHORTAGE + key);
  }

  // ---- gossip --------------------------------------------------------------------------------------------------------

  /** Where some agents speak gossip that do so at another port than the usual one. @throws Fault corrupt-store */
  gossipAddresses(): readonly string[] {
    const value = this.#book.get(GOSSIP);
    return value === undefined ? [] : decoded(gossipSchema, value, GOSSIP).addresses;
  }

  saveGossipAddresses(addresses: readonly string[]): void {
    this.#book.put(GOSSIP, { addresses: [...addresses] });
  }

  // ---- reserved addresses --------------------------------------------------------------------------------------------

  /** What is reserved, who hosts what of it, and the last revision that a claim got. @throws Fault corrupt-store */
  reservations(): StoredReservations {
    const revision = this.#book.get(CLAIM_REVISION);
    return {
      reservations: [...this.#book.under(RESERVATION)].map(([key, value]) =>
        decoded(reservationSchema, value, RESERVATION + key),
      ),
      claims: [...this.#book.under(CLAIM)].map(([key, value]) => decoded(storedClaimSchema, value, CLAIM + key)),
      revision: revision === undefined ? 0 : decoded(z.int().min(0), revision, CLAIM_REVISION),
    };
  }

  putReservation(reservation: Reservation): void {
    this.#book.put(`${RESERVATION}${reservation.network}/${reservation.name}`, reservation);
  }

  deleteReservation(network: string, name: string): void {
    this.#book.delete(`${RESERVATION}${network}/${name}`);
  }

  putClaim(claim: StoredClaim): void {
    this.#book.put(CLAIM + claim.address, claim);
  }

  deleteClaim(address: Ip): void {
    this.#book.delete(CLAIM + address);
  }

  /** It rises for ever, whatever is deleted. */
  saveClaimRevision(revision: number): void {
    this.#book.put(CLAIM_REVISION, revision);
  }

  // ---- trust ---------------------------------------------------------------------------------------------------------

  /** @throws Fault corrupt-store */
  trust(): StoredTrust {
    const [epochs, keyRing] = [this.#book.get(EPOCHS), this.#book.get(KEY_RING)];
    return {
      members: [...this.#book.under(MEMBER)].map(([id, value]) => decoded(memberRecordSchema, value, MEMBER + id)),
      tokens: this.#inOrder(TOKEN).map(([id, value]) => this.#token(TOKEN + id, value)),
      ...(epochs !== undefined && { epochs: this.#epochs(epochs) }),
      ...(keyRing !== undefined && { keyRing: this.#keyRing(keyRing) }),
    };
  }

  /** The cluster's public key in base64url; `undefined` at first, and in a store from before it was kept. */
  clusterKey(): string | undefined {
    return clusterKeyOf(this.#book.get(IDENTITY));
  }

  saveClusterKey(clusterKey: string): void {
    this.#book.put(IDENTITY, { clusterKey });
  }

  putMember(member: MemberRecord): void {
    this.#book.put(MEMBER + member.agentId, member);
  }

  deleteMember(agentId: string): void {
    this.#book.delete(MEMBER + agentId);
  }

  putToken(token: TokenRecord): void {
    const entry = TOKEN + token.id;
    this.#book.put(entry, { order: this.#orderOf(entry), ...token, key: this.#seal.sealed(token.key, entry) });
  }

  deleteToken(id: string): void {
    this.#book.delete(TOKEN + id);
  }

  /** Each removal is an entry of its own: with hundreds of them in one, every further one would write them all again. */
  saveEpochs({ epoch, floor, removals }: EpochRecord): void {
    this.#saveAll(REMOVAL, new Map(removals.map((each) => [`${each.epoch}-${each.memberId}`, each])));
    this.#book.put(EPOCHS, { epoch, floor, removals: [] });
  }

  saveKeyRing({ phase, current, other }: KeyRing): void {
    const sealed = (each: StoredGossipKey) => ({ id: each.id, key: this.#seal.sealed(each.key, KEY_RING) });
    this.#book.put(KEY_RING, { phase, current: sealed(current), ...(other && { other: sealed(other) }) });
  }

  // ---- inside --------------------------------------------------------------------------------------------------------

  /** Of a kind these entries and no others, by the rest of their keys. */
  #saveAll(kind: string, values: ReadonlyMap<string, unknown>): void {
    const before = this.#saved.get(kind) ?? new Map(this.#book.under(kind));
    for (const id of before.keys()) if (!values.has(id)) this.#book.delete(kind + id);
    for (const [id, value] of values) if (before.get(id) !== value) this.#book.put(kind + id, value);
    if (kind !== RESTING) this.#saved.set(kind, values);
  }

  /** Versions up to 0.1.0 wrote many removals inside of the entry at first, and deleted those below the floor later. */
  #epochs(value: unknown): EpochRecord {
    const { epoch, floor, removals } = decoded(epochRecordSchema, value, EPOCHS);
    const entries = [...this.#book.under(REMOVAL)].map(([id, each]) => decoded(removalSchema, each, REMOVAL + id));
    const all = [...entries, ...removals].filter((removal) => removal.epoch >= floor);
    return { epoch, floor, removals: all.sort((a, b) => a.epoch - b.epoch) };
  }

  #inOrder(kind: string): (readonly [id: string, value: unknown])[] {
    return [...this.#book.under(kind)].sort(([, a], [, b]) => orderOf(a) - orderOf(b));
  }

  /** The place of an entry that is there, or the next one. */
  #orderOf(key: string): number {
    const known = this.#book.get(key);
    if (known !== undefined) return orderOf(known);
    this.#order += 1;
    return this.#order - 1;
  }

  #token(entry: string, value: unknown): TokenRecord {
    return decoded(tokenRecordSchema, this.#seal.opened(value, entry), entry);
  }

  #keyRing(value: unknown): KeyRing {
    const { current, other, ...rest } = value as { readonly current: unknown; readonly other?: unknown };
    const opened = {
      current: this.#seal.opened(current, KEY_RING),
      ...(other !== undefined && { other: this.#seal.opened(other, KEY_RING) }),
    };
    return decoded(keyRingSchema, { ...rest, ...opened }, KEY_RING);
  }
}

/** What the entry IDENTITY says. @throws Fault corrupt-store */
export function clusterKeyOf(identity: unknown): string | undefined {
  return identity === undefined ? undefined : decoded(identitySchema, identity, IDENTITY).clusterKey;
}

function orderOf(value: unknown): number {
  const { order } = value as { readonly order?: unknown };
  return typeof order === "number" ? order : Number.MAX_SAFE_INTEGER;
}

function decoded<T>(schema: z.ZodType<T>, value: unknown, entry: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw damaged(entry, issuesOf(parsed.error)[0] ?? "");
}

function damaged(what: string, problem: string, cause?: unknown): Fault {
  return new Fault(
    "corrupt-store",
    `the stored ${what} is damaged (${problem}); restore the store from a backup`,
    {},
    { cause },
  );
}

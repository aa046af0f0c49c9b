/**
 * The leases of this agent, as the store has them, and which of them are on their way out.
 *
 * Every change is durable before it is visible here, and choosing an address and writing it down is one synchronous step,
 * so no address is ever held twice. A lease on its way out is `pending` on the disk, so that an agent that dies meanwhile
 * goes on with it; its addresses are held until it is removed, and rest after that.
 */
import {
  attachmentOf,
  isStranded,
  isWithin,
  type LeaseRequest,
  type LeaseWorld,
  leaseOf,
  pickAddresses,
  requireUnheld,
} from "../../core/ipam/lease.ts";
import { Ledger } from "../../core/ipam/ledger.ts";
import type { Pick as PickedAddress } from "../../core/ipam/pick-address.ts";
import type { AgentStore, Clock } from "../../io/ports.ts";
import { type Attachment, addressesOf, isAttachment, type Lease, type LeaseKey } from "../../model/attachment.ts";
import type { Assignment } from "../../model/cluster.ts";
import { Fault } from "../../model/fault.ts";
import type { Hosting } from "../../model/hosting.ts";
import type { Cidr, Family, Ip } from "../../model/ip.ts";
import { prefixesOf } from "../../model/network.ts";

export class LeaseBook {
  readonly #store: AgentStore;
  readonly #clock: Clock;
  readonly #leases = new Map<string, Lease>();
  /** The keys of the leases in each namespace, by its identity: what an ADD looks at must not grow with the host. */
  readonly #inNetns = new Map<string, Set<string>>();
  readonly #leaving = new Set<string>();
  readonly #ledger: Ledger;
  /** What this agent has of all networks; absent: not known yet. */
  #slices: readonly Cidr[] | undefined;
  #early = 0;

  /** What the store has as `pending` was left by an agent that died: it is on its way out. */
  constructor(store: AgentStore, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
    for (const lease of store.leases()) this.#put(lease);
    for (const [key, { state }] of this.#leases) if (state === "pending") this.#leaving.add(key);
    this.#ledger = new Ledger(store.resting(), this.#leases.values(), clock.now());
  }

  /** Oldest first. */
  all(): readonly Lease[] {
    return [...this.#leases.values()];
  }

  /** Those that have devices of ours. */
  attachments(): readonly Attachment[] {
    return this.all().filter(isAttachment);
  }

  /** The other attachments of its container, less those on their way out. */
  siblings({ containerId, ifname, netnsId }: Attachment): readonly Attachment[] {
    return this.#neighbors(netnsId)
      .filter(isAttachment)
      .filter((other) => other.containerId === containerId && other.ifname !== ifname && !this.isLeaving(other));
  }

  /** The attachment for a request, beside those that are there. @throws Fault address-taken, of its MAC */
  attachmentFor(request: LeaseRequest, addresses: readonly Ip[]): Attachment {
    const { mac, who } = request;
    // A MAC is unique in a whole network.
    const others = mac === undefined ? this.#neighbors(who.netnsId) : this.#leases.values();
    return attachmentOf(request, addresses, others);
  }

  get(identity: LeaseKey): Lease | undefined {
    return this.#leases.get(keyOf(identity));
  }

  isLeaving(identity: LeaseKey): boolean {
    return this.#leaving.has(keyOf(identity));
  }

  /** How many addresses were given before they had rested. */
  get givenEarly(): number {
    return this.#early;
  }

  /** Who holds what, and what rests. */
  get ledger(): Ledger {
    return this.#ledger;
  }

  /** @throws Fault unknown-network, exhausted: no address could be given now */
  requireRoom(network: string, assignment: Assignment, wishes: Pick<LeaseWorld, "kind" | "families"> = {}): void {
    this.#pick({ who: { ...NOBODY, network }, ips: [] }, assignment, wishes);
  }

  /** @throws Fault address-taken */
  requireUnheld({ containerId }: Lease, addresses: readonly Ip[]): void {
    requireUnheld(containerId, addresses, this.#ledger);
  }

  /**
   * Gives addresses to an attachment and writes them down.
   * @param check what else must hold of it; nothing is written when it throws
   * @throws Fault unknown-network, exhausted, address-taken, bad-request, storage; Unclaimed
   */
  open(
    request: LeaseRequest,
    assignment: Assignment,
    check: (attachment: Attachment) => void,
    hosting?: Hosting,
  ): Attachment {
    const picks = this.#pick(request, assignment, hosting && { hosting });
    const attachment = this.attachmentFor(request, picks.map(addressIn));
    check(attachment);
    this.#give(attachment, picks);
    return attachment;
  }

  /** As `open`, for a device that another plugin makes: it is held at once. */
  openAlone(request: LeaseRequest, assignment: Assignment, hosting?: Hosting): Lease {
    const picks = this.#pick(request, assignment, { kind: "lone", ...(hosting && { hosting }) });
    const lease: Lease = { ...leaseOf(request, picks.map(addressIn)), state: "attached" };
    this.#give(lease, picks);
    return lease;
  }

  /**
   * One address for a Docker engine, which does not say for whom: it is held at once, by itself.
   * @throws as `open`
   */
  openForEngine(request: LeaseRequest, family: Family, assignment: Assignment, hosting?: Hosting): Lease {
    const picks = this.#pick(request, assignment, { kind: "docker", families: [family], ...(hosting && { hosting }) });
    const held = leaseOf(request, picks.map(addressIn));
    const lease: Lease = { ...held, containerId: `address ${addressesOf(held).join(" ")}`, state: "attached" };
    this.#give(lease, picks);
    return lease;
  }

  /** The lease holds what these held. @throws Fault storage; then nothing has changed */
  merge(lease: Lease, instead: readonly Lease[]): void {
    this.#store.putLease(lease, instead);
    for (const each of instead) this.#forget(each);
    this.#put(lease);
    this.#ledger.hold(lease);
  }

  /** @throws Fault storage; then nothing has changed */
  save(lease: Lease): void {
    this.#store.putLease(lease);
    this.#put(lease);
    this.#ledger.hold(lease);
  }

  /** @throws Fault storage; then nothing has changed */
  leave(lease: Lease): void {
    if (lease.state !== "pending") this.save({ ...lease, state: "pending" });
    this.#leaving.add(keyOf(lease));
  }

  /**
   * This is what the agent has from now on. Leases of what it has no more are on their way out, and nothing of that rests:
   * whoever gets it next does not ask this host.
   * @param before absent at the start
   * @returns what is on its way out by that
   * @throws Fault storage; it may be called again
   */
  reassigned(assignment: Assignment, before: Assignment | undefined): readonly Lease[] {
    const names = new Set(assignment.agent.overlays.map(({ info }) => info.name));
    const gone = new Set(before?.agent.overlays.map(({ info }) => info.name).filter((name) => !names.has(name)));
    const lost = this.all().filter(
      (lease) => !this.isLeaving(lease) && (gone.has(lease.network) || isStranded(lease, assignment)),
    );
    for (const lease of lost) this.leave(lease);
    this.#slices = assignment.agent.overlays.flatMap(prefixesOf);
    const resting = this.#ledger.resting().filter((address) => !this.#isOwn(address));
    if (resting.length > 0) this.#store.forgetResting(resting);
    this.#ledger.forget(resting);
    return lost;
  }

  /** The agent has nothing any more. @throws Fault storage; it may be called again */
  dismissed(): void {
    for (const lease of this.all()) this.leave(lease);
    this.#slices = [];
    const resting = this.#ledger.resting();
    this.#store.forgetResting(resting);
    this.#ledger.forget(resting);
  }

  /** Gives the addresses back. @throws Fault storage; then it is still on its way out */
  remove(identity: LeaseKey): void {
    const key = keyOf(identity);
    const lease = this.#leases.get(key);
    if (lease === undefined) return;
    const addresses = addressesOf(lease);
    this.#store.deleteLease(lease, lease.ipam === undefined ? addresses.filter((each) => this.#isOwn(each)) : []);
    this.#forget(lease);
    this.#leaving.delete(key);
    this.#ledger.release(lease, this.#clock.now());
    this.#ledger.forget(addresses.filter((each) => !this.#isOwn(each)));
    this.#wake();
  }

  #isOwn(address: Ip): boolean {
    return this.#slices === undefined || isWithin(this.#slices, address);
  }

  #put(lease: Lease): void {
    const key = keyOf(lease);
    const before = this.#leases.get(key);
    if (before !== undefined && before.netnsId !== lease.netnsId) this.#forget(before);
    this.#leases.set(key, lease);
    const keys = this.#inNetns.get(lease.netnsId);
    if (keys === undefined) this.#inNetns.set(lease.netnsId, new Set([key]));
    else keys.add(key);
  }

  #forget(lease: Lease): void {
    const key = keyOf(lease);
    this.#leases.delete(key);
    const keys = this.#inNetns.get(lease.netnsId);
    keys?.delete(key);
    if (keys?.size === 0) this.#inNetns.delete(lease.netnsId);
  }

  /** Oldest first. */
  #neighbors(netnsId: string): readonly Lease[] {
    return [...(this.#inNetns.get(netnsId) ?? [])].flatMap((key) => this.#leases.get(key) ?? []);
  }

  /** What the disk does not forget now only rests anew after a restart: no reason to fail. */
  #wake(): void {
    const awake = this.#ledger.wake(this.#clock.now());
    if (awake.length === 0) return;
    try {
      this.#store.forgetResting(awake);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
    }
  }

  #pick(
    request: Pick<LeaseRequest, "who" | "ips">,
    assignment: Assignment,
    wishes: Pick<LeaseWorld, "kind" | "families" | "hosting"> = {},
  ): readonly PickedAddress[] {
    return pickAddresses(request, assignment, { ledger: this.#ledger, now: this.#clock.now(), ...wishes });
  }

  #give(lease: Lease, picks: readonly PickedAddress[]): void {
    this.save(lease);
    for (const { half, address, isEarly, isReserved } of picks) {
      if (isReserved !== true) this.#ledger.gave(half, address);
      if (isEarly) this.#early++;
    }
  }
}

/** Who STATUS asks for. */
const NOBODY = { containerId: "", ifname: "", netns: "", netnsId: "", requestId: "", runtime: "", since: "" };

function addressIn({ address }: PickedAddress): Ip {
  return address;
}

function keyOf({ containerId, ifname }: LeaseKey): string {
  return `${containerId}\0${ifname}`;
}

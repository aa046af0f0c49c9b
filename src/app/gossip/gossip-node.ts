/**
 * A member of the gossip as a process runs it: the machine, its socket, its timer, and what it keeps on disk. The machine
 * decides; here packets are carried and time passes.
 */
import { decodePacket, encodePacket } from "../../core/gossip/codec.ts";
import type { GossipEffect, GossipEvent } from "../../core/gossip/context.ts";
import { Gossip } from "../../core/gossip/gossip.ts";
import type { Address, Head, MemberId } from "../../core/gossip/messages.ts";
import { Roster } from "../../core/gossip/roster.ts";
import type { Sign, Verify } from "../../core/gossip/signed.ts";
import { Table } from "../../core/gossip/table.ts";
import { nextGen } from "../../core/gossip/version.ts";
import { type DatagramTransport, openDatagramTransport } from "../../io/gossip/datagram-transport.ts";
import type { ClusterKeys } from "../../io/gossip/key-ring.ts";
import type { Clock, GossipStore, Random, Udp, UdpAddress } from "../../io/ports.ts";
import { Fault } from "../../model/fault.ts";
import { type Ip, parseIp } from "../../model/ip.ts";
import { GOSSIP_SAVE_MS, GOSSIP_SEEDS_MAX } from "../../model/limits.ts";
import { blobOf, restored } from "./member-blob.ts";

export interface GossipNodeOptions {
  readonly id: MemberId;
  readonly credential: Uint8Array;
  readonly sign: Sign;
  /** This host's own address, as others reach it; port 0 takes a free one. */
  readonly at: UdpAddress;
  readonly keys: ClusterKeys;
  readonly seeds: readonly Address[];
}

export interface GossipNodeDependencies {
  readonly udp: Udp;
  readonly clock: Clock;
  readonly random: Random;
  readonly store: GossipStore;
  readonly verify: Verify;
  /** The key that the cluster admits under the head's id. */
  readonly admit: (head: Head) => Uint8Array | undefined;
  readonly onMember: (id: MemberId) => void;
  readonly onRecords: (owner: MemberId) => void;
  readonly onEvent: (event: GossipEvent) => void;
  /** Members are about to be saved; called until nothing is thrown. @throws Fault storage */
  readonly onSave: () => void;
  /** The disk does not take it now; it is tried again. */
  readonly onSaveFailed: (fault: Fault) => void;
  /** As of the transport; a simulated clock's `after(0, …)` in tests. */
  readonly soon?: (call: () => void) => void;
}

export class GossipNode {
  readonly #gossip: Gossip;
  readonly #transport: DatagramTransport;
  readonly #deps: GossipNodeDependencies;
  readonly #addresses = new Map<Address, UdpAddress | undefined>();
  readonly #unsaved = new Set<MemberId>();
  #cancelTick: (() => void) | undefined;
  #tickAt = Number.POSITIVE_INFINITY;
  #cancelSave: (() => void) | undefined;
  #isClosed = false;
  #malformed = 0;

  private constructor(gossip: Gossip, transport: DatagramTransport, deps: GossipNodeDependencies) {
    this.#gossip = gossip;
    this.#transport = transport;
    this.#deps = deps;
  }

  /** @throws Fault port-taken, bad-request, no-rights, storage, corrupt-store */
  static async open(options: GossipNodeOptions, deps: GossipNodeDependencies): Promise<GossipNode> {
    const { clock, random, store, udp } = deps;
    let node: GossipNode | undefined;
    const transport = await openDatagramTransport({
      udp,
      clock,
      keys: options.keys,
      at: options.at,
      ...(deps.soon && { soon: deps.soon }),
      onPayload: (payload, from) => {
        if (node !== undefined) node.#onPayload(payload, from);
      },
    });
    const known = restored(store.gossipMembers());
    const gossip = new Gossip(
      {
        self: { ...options, address: addressText(transport.local) },
        gen: nextGen(store.gossipGen(), random.fraction()),
        seeds: seedsOf(
          options.seeds,
          known.map(({ head }) => head.address),
        ),
      },
      {
        table: new Table(new Roster()),
        fraction: () => random.fraction(),
        verify: deps.verify,
        admit: deps.admit,
        unreadMs: () => transport.unreadMs,
      },
    );
    for (const { head, state } of known) gossip.restore(head, state);
    node = new GossipNode(gossip, transport, deps);
    return node;
  }

  /** What can be asked of it. */
  get gossip(): Pick<
    Gossip,
    "self" | "size" | "root" | "member" | "members" | "state" | "value" | "keys" | "gauges" | "counts" | "refusals"
  > {
    return this.#gossip;
  }

  get transport(): Pick<DatagramTransport, "counters" | "waiting" | "sessions" | "local"> {
    return this.#transport;
  }

  /** Messages that could not be read, from holders of the key. */
  get malformed(): number {
    return this.#malformed;
  }

  start(): void {
    this.#do(this.#gossip.start(this.#deps.clock.now()));
  }

  /** @throws Fault bad-request when the records are too large for gossip */
  publish(changes: ReadonlyMap<string, Uint8Array | undefined>): void {
    this.#do(this.#gossip.publish(changes, this.#deps.clock.now()));
  }

  /** Shows this credential from now on. */
  renew(credential: Uint8Array): void {
    this.#do(this.#gossip.renew(credential, this.#deps.clock.now()));
  }

  expel(id: MemberId): void {
    this.#do(this.#gossip.expel(id, this.#deps.clock.now()));
  }

  replaceKeys(keys: ClusterKeys): void {
    this.#transport.replaceKeys(keys);
  }

  /** Says goodbye if `isGoodbye`, and closes. What is known stays on disk. */
  async close(isGoodbye: boolean): Promise<void> {
    if (this.#isClosed) return;
    if (isGoodbye) this.#do(this.#gossip.leave(this.#deps.clock.now()));
    this.#isClosed = true;
    this.#cancelTick?.();
    this.#cancelSave?.();
    this.#save();
    await this.#transport.close();
  }

  #onPayload(payload: Buffer, from: UdpAddress): void {
    if (this.#isClosed) return;
    const packet = decodePacket(payload);
    this.#malformed += packet?.malformed ?? 1;
    if (packet === undefined) return;
    this.#do(this.#gossip.receive(addressText(from), packet.sender, packet.messages, this.#deps.clock.now()));
  }

  #do(effects: readonly GossipEffect[]): void {
    const { store, onMember, onRecords, onEvent } = this.#deps;
    for (const effect of effects)
      switch (effect.type) {
        case "send": {
          const to = this.#addressOf(effect.to);
          // What the socket does not take is lost like any other datagram.
          if (to !== undefined) {
            const payload = encodePacket(this.#gossip.self.id, effect.messages);
            this.#transport.send(to, payload, effect.isControl ? "control" : "bulk");
          }
          break;
        }
        case "gen":
          store.saveGossipGen(effect.gen);
          break;
        case "member":
          this.#saveSoon(effect.id);
          onMember(effect.id);
          break;
        case "records":
          this.#saveSoon(effect.owner);
          onRecords(effect.owner);
          break;
        case "event":
          onEvent(effect.event);
      }
    this.#schedule();
  }

  #schedule(): void {
    const due = this.#gossip.nextDeadline();
    if (this.#isClosed || due === this.#tickAt) return;
    this.#cancelTick?.();
    this.#tickAt = due;
    if (due === Number.POSITIVE_INFINITY) return;
    const { clock } = this.#deps;
    this.#cancelTick = clock.after(Math.max(0, due - clock.now()), () => {
      this.#tickAt = Number.POSITIVE_INFINITY;
      this.#do(this.#gossip.tick(clock.now()));
    });
  }

  /** Cached: every packet names one, and there are few. */
  #addressOf(text: Address): UdpAddress | undefined {
    if (this.#addresses.has(text)) return this.#addresses.get(text);
    if (this.#addresses.size > 4 * GOSSIP_SEEDS_MAX) this.#addresses.clear();
    const address = parseAddress(text);
    this.#addresses.set(text, address);
    return address;
  }

  // ---- disk ----------------------------------------------------------------------------------------------------------

  #saveSoon(id: MemberId): void {
    if (id === this.#gossip.self.id) return;
    this.#unsaved.add(id);
    this.#startSaving();
  }

  #startSaving(): void {
    if (this.#isClosed) return;
    this.#cancelSave ??= this.#deps.clock.after(GOSSIP_SAVE_MS, () => {
      this.#cancelSave = undefined;
      this.#save();
    });
  }

  #save(): void {
    if (this.#unsaved.size === 0) return;
    const { store, onSave, onSaveFailed } = this.#deps;
    try {
      onSave();
      store.saveGossipMembers([...this.#unsaved].map((id) => ({ id, blob: blobOf(this.#gossip, id) })));
      this.#unsaved.clear();
    } catch (thrown) {
      if (!(thrown instanceof Fault)) throw thrown;
      onSaveFailed(thrown);
      this.#startSaving();
    }
  }
}

/** `10.0.0.11:62501`, `[fd00::11]:62501`. */
export function addressText({ ip, port }: UdpAddress): Address {
  return ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;
}

/** @returns `undefined` for what `addressText` would not write */
export function parseAddress(text: Address): UdpAddress | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  const ip: Ip | undefined = parseIp(match?.[1] ?? match?.[2] ?? "");
  const port = Number(match?.[3]);
  if (ip === undefined || port < 1 || port > 65_535) return undefined;
  return addressText({ ip, port }) === text ? { ip, port } : undefined;
}

/** Those that were given, and some of those who were there last time. */
function seedsOf(given: readonly Address[], known: readonly Address[]): Address[] {
  return [...new Set([...given, ...known])].slice(0, GOSSIP_SEEDS_MAX);
}

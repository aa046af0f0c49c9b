/**
 * Whole hosts behind the members of a simulated gossip: the first members are masters, each other one is an agent with a
 * machine. What the shipping programs wire together (ClusterMember, AgentGossip, MasterGossip, registration) is wired
 * here on virtual time; what decides is theirs.
 */

import { ANNOUNCEMENT_KEY } from "../../src/app/gossip/record-keys.ts";
import { messageBytes, PACKET_HEADER_BYTES } from "../../src/core/gossip/codec.ts";
import type { Head, MemberId, Message } from "../../src/core/gossip/messages.ts";
import type { OwnerState } from "../../src/core/gossip/owner-state.ts";
import { Directory, type DirectoryChange, FLOOR_KEY, REMOVAL_KEY } from "../../src/core/trust/directory.ts";
import { GOSSIP_COMPLETE_MS, RECONCILE_EVENT_GAP_MAX_MS, RECONCILE_INTERVAL_MS } from "../../src/model/limits.ts";
import { deltas } from "../forger.ts";
import type { Effect } from "../gossip-cluster.ts";
import type { SimMember } from "../member.ts";
import type { HostTrust } from "./host-trust.ts";
import { type Lie, liesRecords } from "./lies.ts";
import { MasterRecords, type Words } from "./master-records.ts";
import { hostOf, SimHost } from "./sim-host.ts";
import { agentsWords, isHostRecord, type Station, type Surroundings } from "./station.ts";

/** A registration takes so long at most; without an answer it is tried again, ms. */
const REGISTER_MS = 50;
const REGISTER_AGAIN_MS = 1_000;
/** Where replayed packets seem to come from. */
const LIAR = "10.255.255.253:62501";
const GOSSIP_PORT = 62_501;

export class Hosts {
  readonly records: MasterRecords;
  readonly #around: Surroundings;
  readonly #trust: HostTrust;
  readonly #masters: number;
  readonly #stations = new Map<MemberId, Station>();
  /** Hosts that a pass waits for, and in which life. */
  readonly #passes = new Map<SimHost, number>();
  #announcements = 0;
  #moves = 0;
  /** Of hosts by agent id: one whose agent id comes back on another machine has several. */
  readonly #machines: SimHost[] = [];
  readonly #removed: { readonly head: Head; readonly state: OwnerState | undefined }[] = [];
  /** The masters said something since the last rest that may be known to nobody else. */
  isUnheard = false;

  constructor(masters: number, trust: HostTrust, around: Surroundings) {
    this.records = new MasterRecords(trust.cluster);
    this.#masters = masters;
    this.#trust = trust;
    this.#around = around;
  }

  isMaster(member: SimMember): boolean {
    return this.#around.cluster.members.indexOf(member) < this.#masters;
  }

  hostOf(member: SimMember): SimHost | undefined {
    return this.#stationOf(member).host;
  }

  directoryOf(member: SimMember): Directory | undefined {
    return this.#stationOf(member).directory;
  }

  /** All machines there ever were. */
  get machines(): readonly SimHost[] {
    return this.#machines;
  }

  // ---- lives of processes --------------------------------------------------------------------------------------------

  /** The process starts. @param begin lets its gossip begin, when it has the papers for it */
  start(member: SimMember, begin: () => void): void {
    const station = this.#stationOf(member);
    const { host } = station;
    if (host === undefined) {
      this.#open(station, this.records.words, this.records.masterCredential(member.identity.publicKey), begin);
      return;
    }
    if (host.isRunning || host.isOff) return;
    host.startProcess();
    this.#reconcile(host);
    const { papers } = host;
    if (papers !== undefined && host.hasItsPlace) this.#open(station, papers, papers.credential, begin);
    this.#register(station, begin);
  }

  /** The process has ended. */
  stopped(member: SimMember, disk: "kept" | "lost"): void {
    const { host } = this.#stationOf(member);
    host?.endProcess();
    if (disk === "kept" || host === undefined) return;
    // A host that loses its disk is installed anew, but for its identity.
    host.loseDisk();
    host.reboot();
  }

  reboot(member: SimMember): void {
    this.hostOf(member)?.reboot();
  }

  /** The host has another address from now on; its process does not run. */
  move(member: SimMember): void {
    const { host } = this.#stationOf(member);
    if (host === undefined) return;
    member.address = this.#freshAddress();
    host.moveTo(hostOf(member.address));
  }

  /** A new machine, with a new id and key, in the place and at the address of one that is thrown away. */
  replace(member: SimMember): SimMember | undefined {
    const { host } = this.#stationOf(member);
    if (host === undefined || host.isOff) return undefined;
    host.isOff = true;
    return this.#around.cluster.add(member.address);
  }

  /** A removed agent's id comes back, with another key, on another machine. */
  readmit(member: SimMember): SimMember | undefined {
    const { host } = this.#stationOf(member);
    if (host === undefined) return undefined;
    const isThere = [...this.#stations.values()].some(
      (other) => other.host?.agentId === host.agentId && !this.#around.fateOf(other.member).isExpelled,
    );
    if (isThere) return undefined;
    const again = this.#around.cluster.add(this.#freshAddress());
    this.#stationOf(again, host.agentId);
    return again;
  }

  /** Ends the agent's membership. @returns whether a master is there to do so */
  remove(member: SimMember): boolean {
    const { host } = this.#stationOf(member);
    if (host === undefined || this.#masterFor(undefined) === undefined) return false;
    const witness = this.#around.cluster.up.find(({ gossip }) => gossip?.member(member.id) !== undefined);
    const head = witness?.gossip?.member(member.id)?.head;
    if (head !== undefined) this.#removed.push({ head, state: witness?.gossip?.state(member.id) });
    if (this.records.memberOf(host.agentId) === member.id) {
      this.records.remove(host.agentId);
      this.#mastersSpeak();
    }
    return true;
  }

  /** Agents come for newer papers, and then the floor rises as far as it can. */
  raiseFloor(): void {
    if (this.#masterFor(undefined) === undefined) return;
    this.#announcements += 1;
    this.#mastersSpeak();
    this.#around.cluster.engine.after(3_000, () => {
      if (this.#masterFor(undefined) !== undefined && this.records.raiseFloor()) this.#mastersSpeak();
    });
  }

  /** What a member says besides or in place of what it should, until `endLies`. */
  lie(member: SimMember, kind: Lie): void {
    const station = this.#stationOf(member);
    if (kind === "removed") this.#replayRemoved();
    if (kind === "removed" || !member.isUp || station.host === undefined) return;
    const own = this.records.issued.get(station.host.agentId)?.at(-1);
    const others = [...this.records.agents.keys()].filter((id) => id !== own?.agentId);
    const victim = others[Math.floor(this.#around.cluster.fraction() * others.length)];
    const other = victim === undefined ? undefined : this.records.issued.get(victim)?.at(-1);
    if (own?.memberId !== member.id || other === undefined) return;
    station.isLying = true;
    this.#publish(member, liesRecords(kind, member.identity, own, other, this.records));
  }

  /** All liars are honest again; who is down says so when it starts. */
  endLies(): void {
    for (const station of this.#stations.values()) {
      const { member, host, isLying } = station;
      if (!isLying || !member.isUp || host?.papers === undefined) continue;
      station.isLying = false;
      const { wanted } = this.#around.fateOf(member);
      const words: Map<string, Uint8Array | undefined> = agentsWords(host.papers, host.life);
      for (const key of wanted.keys()) if (isHostRecord(key) && !words.has(key)) words.set(key, undefined);
      this.#publish(member, words);
    }
  }

  /** Without it the others could not know what they are asked for at rest. */
  isNeeded(member: SimMember): boolean {
    return this.#stationOf(member).isLying || (this.isUnheard && this.isMaster(member));
  }

  /** Somebody says again what removed members said when they were in. */
  #replayRemoved(): void {
    const { up, network } = this.#around.cluster;
    for (const { head, state } of this.#removed) {
      const messages: Message[] = [
        { type: "member", head, isAsked: true },
        ...(state === undefined ? [] : deltas(state)),
      ];
      for (const message of messages)
        for (const { address } of up)
          network.send(LIAR, head.id, address, [message], PACKET_HEADER_BYTES + messageBytes(message));
    }
  }

  // ---- what gossip tells ---------------------------------------------------------------------------------------------

  effect(member: SimMember, effect: Effect): void {
    if (effect.type === "records") this.#recordsChanged(this.#stationOf(member), effect.owner);
  }

  #recordsChanged(station: Station, owner: MemberId): void {
    const { member, directory, host } = station;
    const { gossip } = member;
    if (gossip === undefined || directory === undefined) return;
    const records = { keys: () => gossip.keys(owner), value: (key: string) => gossip.value(owner, key) };
    this.#carryOut(station, directory.update(owner, records));
    if (host === undefined || directory.credentialOf(owner)?.role !== "master") return;
    const value = gossip.value(owner, ANNOUNCEMENT_KEY);
    const text = value && Buffer.from(value).toString();
    if (text === undefined || station.announced.get(owner) === text) return;
    station.announced.set(owner, text);
    this.#register(station, () => {});
  }

  #carryOut(station: Station, changes: readonly DirectoryChange[]): void {
    const { member, host } = station;
    for (const change of changes) if (change.type === "removed") member.forget(change.memberId);
    host?.learned(changes);
    if (host === undefined || changes.length === 0) return;
    this.#around.note(this.#around.cluster.engine.now, changes.length);
    this.#around.onChange(host);
    this.#passSoon(host);
  }

  // ---- inside --------------------------------------------------------------------------------------------------------

  #stationOf(member: SimMember, agentId?: string): Station {
    let station = this.#stations.get(member.id);
    if (station === undefined) {
      const number = Number(member.name.slice(1));
      const isAgent = !this.isMaster(member);
      const host = isAgent ? new SimHost(number, agentId ?? `agent-${number}`, hostOf(member.address)) : undefined;
      if (host !== undefined) this.#machines.push(host);
      station = { member, host, directory: undefined, announced: new Map(), isLying: false };
      this.#stations.set(member.id, station);
    }
    return station;
  }

  #freshAddress(): string {
    this.#moves += 1;
    return `10.200.${this.#moves >> 8}.${this.#moves & 255}:${GOSSIP_PORT}`;
  }

  /** A master that the member reaches; of `undefined`, any that runs. */
  #masterFor(member: SimMember | undefined): SimMember | undefined {
    const { members, network } = this.#around.cluster;
    return members
      .slice(0, this.#masters)
      .find(
        ({ isUp, isPaused, address }) =>
          isUp &&
          !isPaused &&
          (member === undefined || !(network.isCut(member.address, address) || network.isCut(address, member.address))),
      );
  }

  #open(station: Station, words: Words, credential: Uint8Array, begin: () => void): void {
    const { member, host } = station;
    const directory = new Directory(this.#trust.cluster.publicKey, this.#trust.verify, host?.agentId);
    for (const removal of words.removals) directory.remove(removal);
    directory.raiseFloor(words.epochFloor);
    station.directory = directory;
    station.announced.clear();
    member.admit = ({ id, credential: shown }) => directory.admit(id, shown);
    member.credential = credential;
    const { wanted } = this.#around.fateOf(member);
    const said = host?.papers === undefined ? this.#mastersWords() : agentsWords(host.papers, host.life);
    station.isLying = false;
    for (const key of wanted.keys()) if (isHostRecord(key)) wanted.delete(key);
    for (const [key, value] of said) wanted.set(key, value);
    begin();
    for (const { head } of [...(member.gossip?.members() ?? [])]) this.#recordsChanged(station, head.id);
    if (host !== undefined) this.#awaitCompleteness(station, host, host.life);
  }

  #awaitCompleteness(station: Station, host: SimHost, life: number): void {
    this.#around.cluster.engine.after(GOSSIP_COMPLETE_MS, () => {
      const { directory, member } = station;
      if (host.life !== life || directory === undefined) return;
      if (member.isPaused || member.gossip?.gauges().neighbors === 0) {
        this.#awaitCompleteness(station, host, life);
        return;
      }
      host.knowsAll([...directory.peers()]);
    });
  }

  #register(station: Station, begin: () => void): void {
    const { host, member } = station;
    if (host === undefined) return;
    const { engine, fraction } = this.#around.cluster;
    const { life } = host;
    engine.after(fraction() * REGISTER_MS, () => {
      if (host.life !== life || this.#around.fateOf(member).isExpelled) return;
      if (member.isPaused || this.#masterFor(member) === undefined)
        engine.after(REGISTER_AGAIN_MS, () => host.life === life && this.#register(station, begin));
      else this.#registered(station, host, begin);
    });
  }

  #registered(station: Station, host: SimHost, begin: () => void): void {
    const { member } = station;
    const { agentId, ip } = host;
    const { papers, replaced } = this.records.register({ agentId, ip, publicKey: member.identity.publicKey });
    const issued = this.records.issued.get(agentId)?.at(-1);
    this.#around.say(member, `is registered: epoch ${issued?.epoch}, revision ${issued?.revision}`);
    if (replaced !== undefined) this.#replacedBy(member, replaced);
    host.assigned(papers);
    if (!member.isUp) {
      this.#open(station, papers, papers.credential, begin);
      return;
    }
    const { directory } = station;
    const changes = papers.removals.flatMap((removal) => directory?.remove(removal) ?? []);
    changes.push(...(directory?.raiseFloor(papers.epochFloor) ?? []));
    if (Buffer.compare(papers.credential, member.credential) !== 0) member.renew(papers.credential);
    this.#carryOut(station, changes);
    if (!station.isLying) this.#publish(member, agentsWords(papers, host.life));
  }

  /** The member took over another agent's place, which is out by that. */
  #replacedBy(member: SimMember, agentId: string): void {
    for (const { member: other, host } of this.#stations.values())
      if (other !== member && host?.agentId === agentId) this.#around.fateOf(other).isExpelled = true;
    this.#mastersSpeak();
  }

  /** After epochs have changed, or agents are to come. */
  #mastersSpeak(): void {
    this.isUnheard = true;
    for (const member of this.#around.cluster.members.slice(0, this.#masters)) {
      const station = this.#stationOf(member);
      if (!member.isUp) continue;
      const { removals, epochFloor } = this.records.words;
      const { directory } = station;
      const changes = removals.flatMap((removal) => directory?.remove(removal) ?? []);
      changes.push(...(directory?.raiseFloor(epochFloor) ?? []));
      member.renew(this.records.masterCredential(member.identity.publicKey));
      this.#carryOut(station, changes);
      const words = this.#mastersWords();
      const gone = [...this.#around.fateOf(member).wanted.keys()].filter(
        (key) => key.startsWith(REMOVAL_KEY) && !words.has(key),
      );
      this.#publish(member, new Map([...words, ...gone.map((key) => [key, undefined] as const)]));
    }
  }

  #mastersWords(): Map<string, Uint8Array> {
    const { removals, epochFloor } = this.records.words;
    return new Map([
      [ANNOUNCEMENT_KEY, Buffer.from(String(this.#announcements))],
      [FLOOR_KEY, epochFloor],
      ...this.records.epochs.removals.map(
        ({ memberId }, n) => [REMOVAL_KEY + memberId, removals[n] as Uint8Array] as const,
      ),
    ]);
  }

  #publish(member: SimMember, changes: ReadonlyMap<string, Uint8Array | undefined>): void {
    const { wanted } = this.#around.fateOf(member);
    for (const [key, value] of changes)
      if (value === undefined) wanted.delete(key);
      else wanted.set(key, value);
    member.publish(changes);
  }

  /** The kernel's notices of what was written lead to a pass. */
  #passSoon(host: SimHost): void {
    const { life } = host;
    if (this.#passes.get(host) === life) return;
    this.#passes.set(host, life);
    this.#around.cluster.engine.after(RECONCILE_EVENT_GAP_MAX_MS, () => {
      this.#passes.delete(host);
      if (host.life === life) this.#pass(host);
    });
  }

  #reconcile(host: SimHost): void {
    const { life } = host;
    this.#around.cluster.engine.after(RECONCILE_INTERVAL_MS, () => {
      if (host.life !== life) return;
      this.#pass(host);
      this.#reconcile(host);
    });
  }

  #pass(host: SimHost): void {
    this.#around.note(host.pass());
    this.#around.onChange(host);
  }
}

/**
 * The simulated twins of the SQLite stores, for tests: strict where those are. Values go in and out as copies, a data
 * directory has one user at a time, a closed store refuses calls, and a full disk changes nothing.
 */
import { eventBytes, firstWithin } from "../../core/control/pieces.ts";
import type { DockerNetwork, Lease } from "../../model/attachment.ts";
import type { Assignment } from "../../model/cluster.ts";
import type { ControlEvent, ControlState } from "../../model/control-event.ts";
import { EVENTS_READ_MAX_BYTES } from "../../model/control-limits.ts";
import { assert, Fault } from "../../model/fault.ts";
import type { Ip } from "../../model/ip.ts";
import { fromText, toText } from "../../model/trust/bytes.ts";
import { membershipJson, membershipSchema } from "../../model/trust/membership.ts";
import type { NewestWord } from "../../model/trust/standing.ts";
import type { AgentStore, GossipStore, LocalControlStore, LocalTerm, MasterDisk } from "../ports.ts";
import { checkEvents } from "./control-bounds.ts";

interface Contents {
  revision: number;
  entries: Record<string, unknown>;
  events: ControlEvent[];
  identity?: string;
  assignment?: Assignment;
  removed?: true;
  leases: Lease[];
  resting: Ip[];
  /** As JSON, because it holds bytes. */
  membership?: object;
  gossipGen?: number;
  /** Blobs in base64url. */
  gossipMembers: Record<string, string>;
  newest: NewestWord[];
  dockerNetworks: DockerNetwork[];
}

const EMPTY: Contents = {
  revision: 0,
  entries: {},
  events: [],
  leases: [],
  resting: [],
  gossipMembers: {},
  newest: [],
  dockerNetworks: [],
};

/** What survives a store's close, as a data directory does. `full` makes every write fail. */
export class MemoryDisk {
  full = false;
  #inUse = false;
  /** What a power cut may leave: the state after each write since the last one that was synced. */
  #unsynced: string[] = [];
  #json = JSON.stringify(EMPTY);

  /** @throws Fault in-use while another store has the disk */
  open(): MemoryFile {
    if (this.#inUse) throw new Fault("in-use", "the data directory in memory is in use by another process");
    this.#inUse = true;
    let open = true;
    const read = (): Contents => {
      assert(open, "the store is not closed");
      return JSON.parse(this.#json) as Contents;
    };
    return {
      read,
      change: (how, isSynced) => {
        const contents = read();
        if (this.full) throw new Fault("storage", "the data directory in memory is full; nothing was changed");
        how(contents);
        if (isSynced) this.#unsynced = [];
        else this.#unsynced.push(this.#json);
        this.#json = JSON.stringify(contents);
      },
      close: () => {
        open = false;
        this.#inUse = false;
      },
    };
  }

  /** The power fails: of the writes that were not synced the last `lost` are gone, and whoever had the disk. */
  cutPower(lost: number): void {
    const kept = this.#unsynced.length - Math.min(lost, this.#unsynced.length);
    this.#json = this.#unsynced[kept] ?? this.#json;
    this.#unsynced = [];
    this.#inUse = false;
  }
}

interface MemoryFile {
  read(): Contents;
  change(how: (contents: Contents) => void, isSynced: boolean): void;
  close(): void;
}

/** @throws Fault in-use */
export function openMemoryMasterDisk(disk = new MemoryDisk()): MasterDisk {
  const file = disk.open();
  const term = new MemoryTerm(file);
  const control: LocalControlStore = {
    lead: () => Promise.resolve(term),
    leadNow: () => term,
    leader: () => undefined,
    close: () => Promise.resolve(),
  };
  return { gossip: gossipStore(file), control, close: () => file.close() };
}

class MemoryTerm implements LocalTerm {
  readonly number = 1;
  readonly lost = new Promise<Fault>(() => {});
  readonly #file: MemoryFile;

  constructor(file: MemoryFile) {
    this.#file = file;
  }

  loadNow(): ControlState {
    const { revision, entries } = this.#file.read();
    return { revision, entries: new Map(Object.entries(entries)) };
  }

  appendNow(events: readonly ControlEvent[]): void {
    this.#file.change((contents) => {
      checkEvents(events, contents.revision);
      for (const event of events) {
        for (const { key, after } of event.changes)
          if (after === undefined) delete contents.entries[key];
          else contents.entries[key] = after;
        contents.events.push(event);
        contents.revision = event.revision;
      }
    }, true);
  }

  load(): Promise<ControlState> {
    return settled(() => this.loadNow());
  }

  append(events: readonly ControlEvent[]): Promise<void> {
    return settled(() => this.appendNow(events));
  }

  events(after: number, limit: number): Promise<readonly ControlEvent[]> {
    return settled(() =>
      firstWithin(
        this.#file
          .read()
          .events.filter(({ revision }) => revision > after)
          .slice(0, limit),
        eventBytes,
        EVENTS_READ_MAX_BYTES,
      ),
    );
  }

  forget(upTo: number): Promise<void> {
    return settled(() =>
      this.#file.change((contents) => {
        contents.events = contents.events.filter(({ revision }) => revision > upTo || revision === contents.revision);
      }, true),
    );
  }

  resign(): Promise<void> {
    return Promise.resolve();
  }
}

/** What is thrown rejects. */
function settled<T>(call: () => T): Promise<T> {
  return new Promise((resolve) => resolve(call()));
}

/** @throws Fault in-use */
export function openMemoryAgentStore(disk = new MemoryDisk()): AgentStore {
  const file = disk.open();
  return {
    identity: () => file.read().identity,
    saveIdentity: (id) =>
      file.change((contents) => {
        contents.identity = id;
      }, true),
    assignment: () => file.read().assignment,
    saveAssignment: (assignment) =>
      file.change((contents) => {
        contents.assignment = assignment;
        delete contents.removed;
      }, true),
    saveRemoval: () =>
      file.change((contents) => {
        contents.removed = true;
        delete contents.assignment;
      }, true),
    wasRemoved: () => file.read().removed === true,
    membership: () => {
      const { membership } = file.read();
      return membership === undefined ? undefined : membershipSchema.parse(membership);
    },
    saveMembership: (membership) =>
      file.change((contents) => {
        contents.membership = membershipJson(membership);
      }, true),
    forgetMembership: () =>
      file.change((contents) => {
        delete contents.membership;
        contents.gossipMembers = {};
        contents.newest = [];
      }, true),
    leases: () => file.read().leases,
    putLease: (lease, instead = []) =>
      file.change((contents) => {
        contents.leases = contents.leases.filter((other) => !instead.some((key) => isSameInterface(other, key)));
        const { leases } = contents;
        const at = leases.findIndex((other) => isSameInterface(other, lease));
        if (at < 0) leases.push(lease);
        else leases[at] = lease;
      }, false),
    deleteLease: (lease, resting) =>
      file.change((contents) => {
        contents.leases = contents.leases.filter((other) => !isSameInterface(other, lease));
        contents.resting = [...contents.resting.filter((address) => !resting.includes(address)), ...resting];
      }, false),
    resting: () => file.read().resting,
    forgetResting: (addresses) =>
      file.change((contents) => {
        contents.resting = contents.resting.filter((address) => !addresses.includes(address));
      }, false),
    dockerNetworks: () => file.read().dockerNetworks,
    putDockerNetwork: (network) =>
      file.change(({ dockerNetworks }) => {
        const at = dockerNetworks.findIndex(({ id }) => id === network.id);
        if (at < 0) dockerNetworks.push(network);
        else dockerNetworks[at] = network;
      }, true),
    deleteDockerNetwork: (id) =>
      file.change((contents) => {
        contents.dockerNetworks = contents.dockerNetworks.filter((each) => each.id !== id);
      }, true),
    ...gossipStore(file),
    close: () => file.close(),
  };
}

function gossipStore(file: MemoryFile): GossipStore {
  return {
    gossipGen: () => file.read().gossipGen ?? 0,
    saveGossipGen: (gen) => file.change((contents) => Object.assign(contents, { gossipGen: gen }), true),
    gossipMembers: () => Object.entries(file.read().gossipMembers).map(([id, text]) => ({ id, blob: fromText(text) })),
    saveGossipMembers: (members) =>
      file.change(({ gossipMembers }) => {
        for (const { id, blob } of members)
          if (blob === undefined) delete gossipMembers[id];
          else gossipMembers[id] = toText(blob);
      }, false),
    newestWords: () => file.read().newest,
    saveNewestWords: (words, gone) =>
      file.change((contents) => {
        contents.newest = contents.newest.filter(({ agentId }) => !gone.includes(agentId));
        for (const word of words) put(contents.newest, word, ({ agentId }) => agentId);
      }, false),
  };
}

/** Adds the value, or puts it in the place of that with the same key. */
function put<T>(values: T[], value: T, keyOf: (value: T) => string): void {
  const at = values.findIndex((each) => keyOf(each) === keyOf(value));
  if (at < 0) values.push(value);
  else values[at] = value;
}

type Interface = Pick<Lease, "containerId" | "ifname">;

function isSameInterface(a: Interface, b: Interface): boolean {
  return a.containerId === b.containerId && a.ifname === b.ifname;
}

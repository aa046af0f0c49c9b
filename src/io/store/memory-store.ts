/**
 * The simulated twins of the SQLite stores, for tests: strict where those are. Values go in and out as copies, a data
 * directory has one user at a time, a closed store refuses calls, and a full disk changes nothing.
 */
import type { Lease } from "../../model/attachment.ts";
import type { AgentRecord, Assignment, RestingItem } from "../../model/cluster.ts";
import { assert, Fault } from "../../model/fault.ts";
import type { Ip } from "../../model/ip.ts";
import { fromText, toText } from "../../model/trust/bytes.ts";
import type { EpochRecord } from "../../model/trust/epoch-record.ts";
import type { KeyRing } from "../../model/trust/key-ring.ts";
import { type MemberRecord, membershipJson, membershipSchema } from "../../model/trust/membership.ts";
import type { TokenRecord } from "../../model/trust/token.ts";
import type { AgentStore, GossipStore, MasterStore } from "../ports.ts";

interface Contents {
  network?: unknown;
  agents: AgentRecord[];
  identity?: string;
  assignment?: Assignment;
  leases: Lease[];
  resting: Ip[];
  restingItems?: RestingItem[];
  members: MemberRecord[];
  tokens: TokenRecord[];
  epochs?: EpochRecord;
  keyRing?: KeyRing;
  /** As JSON, because it holds bytes. */
  membership?: object;
  gossipGen?: number;
  /** Blobs in base64url. */
  gossipMembers: Record<string, string>;
}

const EMPTY: Contents = { agents: [], leases: [], resting: [], members: [], tokens: [], gossipMembers: {} };

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
      atomically: (writes) => {
        const before = this.#json;
        try {
          writes();
        } catch (thrown) {
          this.#json = before;
          throw thrown;
        }
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
  atomically(writes: () => void): void;
  close(): void;
}

/** @throws Fault in-use */
export function openMemoryMasterStore(disk = new MemoryDisk()): MasterStore {
  const file = disk.open();
  return {
    load: () => {
      const { network, agents, restingItems } = file.read();
      return { network, agents, ...(restingItems !== undefined && { resting: restingItems }) };
    },
    saveResting: (resting) => file.change((contents) => Object.assign(contents, { restingItems: resting }), true),
    saveNetwork: (network) =>
      file.change((contents) => {
        contents.network = network;
      }, true),
    putAgent: (record, replaces = record.id) =>
      file.change(({ agents }) => {
        const at = agents.findIndex(({ id }) => id === replaces);
        if (at < 0) agents.push(record);
        else agents[at] = record;
      }, true),
    deleteAgents: (ids) =>
      file.change((contents) => {
        contents.agents = contents.agents.filter(({ id }) => !ids.includes(id));
      }, true),
    loadTrust: () => {
      const { members, tokens, epochs, keyRing } = file.read();
      return { members, tokens, ...(epochs !== undefined && { epochs }), ...(keyRing !== undefined && { keyRing }) };
    },
    putMember: (member) => file.change(({ members }) => put(members, member, (each) => each.agentId), true),
    deleteMembers: (agentIds) =>
      file.change((contents) => {
        contents.members = contents.members.filter(({ agentId }) => !agentIds.includes(agentId));
      }, true),
    putToken: (token) => file.change(({ tokens }) => put(tokens, token, (each) => each.id), true),
    deleteToken: (id) =>
      file.change((contents) => {
        contents.tokens = contents.tokens.filter((each) => each.id !== id);
      }, true),
    saveEpochs: (epochs) => file.change((contents) => Object.assign(contents, { epochs }), true),
    saveKeyRing: (ring) => file.change((contents) => Object.assign(contents, { keyRing: ring }), true),
    ...gossipStore(file),
    atomically: (writes) => file.atomically(writes),
    close: () => file.close(),
  };
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
      }, true),
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
      }, true),
    leases: () => file.read().leases,
    putLease: (lease) =>
      file.change(({ leases }) => {
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

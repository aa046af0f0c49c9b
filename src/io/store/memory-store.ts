/**
 * The simulated twins of the SQLite stores, for tests: strict where those are. Values go in and out as copies, a data
 * directory has one user at a time, a closed store refuses calls, and a full disk changes nothing.
 */
import type { Attachment } from "../../model/attachment.ts";
import type { AgentRecord, Assignment } from "../../model/cluster.ts";
import { assert, Fault } from "../../model/fault.ts";
import type { AgentStore, MasterStore } from "../ports.ts";

interface Contents {
  network?: unknown;
  agents: AgentRecord[];
  identity?: string;
  assignment?: Assignment;
  attachments: Attachment[];
}

/** What survives a store's close, as a data directory does. `full` makes every write fail. */
export class MemoryDisk {
  full = false;
  #inUse = false;
  #json = JSON.stringify({ agents: [], attachments: [] } satisfies Contents);

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
      change: (how) => {
        const contents = read();
        if (this.full) throw new Fault("storage", "the data directory in memory is full; nothing was changed");
        how(contents);
        this.#json = JSON.stringify(contents);
      },
      close: () => {
        open = false;
        this.#inUse = false;
      },
    };
  }
}

interface MemoryFile {
  read(): Contents;
  change(how: (contents: Contents) => void): void;
  close(): void;
}

/** @throws Fault in-use */
export function openMemoryMasterStore(disk = new MemoryDisk()): MasterStore {
  const file = disk.open();
  return {
    load: () => {
      const { network, agents } = file.read();
      return { network, agents };
    },
    saveNetwork: (network) =>
      file.change((contents) => {
        contents.network = network;
      }),
    putAgent: (record, replaces = record.id) =>
      file.change(({ agents }) => {
        const at = agents.findIndex(({ id }) => id === replaces);
        if (at < 0) agents.push(record);
        else agents[at] = record;
      }),
    deleteAgents: (ids) =>
      file.change((contents) => {
        contents.agents = contents.agents.filter(({ id }) => !ids.includes(id));
      }),
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
      }),
    assignment: () => file.read().assignment,
    saveAssignment: (assignment) =>
      file.change((contents) => {
        contents.assignment = assignment;
      }),
    attachments: () => file.read().attachments,
    putAttachment: (attachment) =>
      file.change(({ attachments }) => {
        const at = attachments.findIndex((other) => sameInterface(other, attachment.containerId, attachment.ifname));
        if (at < 0) attachments.push(attachment);
        else attachments[at] = attachment;
      }),
    deleteAttachment: (containerId, ifname) =>
      file.change((contents) => {
        contents.attachments = contents.attachments.filter((each) => !sameInterface(each, containerId, ifname));
      }),
    close: () => file.close(),
  };
}

function sameInterface(attachment: Attachment, containerId: string, ifname: string): boolean {
  return attachment.containerId === containerId && attachment.ifname === ifname;
}

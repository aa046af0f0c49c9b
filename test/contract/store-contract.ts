/**
 * What every store of master and agent must do, whatever it keeps its data in. A place is what survives a store: a
 * directory, or a disk in memory.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { AgentStore, MasterDisk } from "../../src/io/ports.ts";
import type { Attachment } from "../../src/model/attachment.ts";
import type { AgentRecord, Assignment } from "../../src/model/cluster.ts";
import { cidr, ip, ipInterface } from "../../src/model/ip.ts";
import { mac } from "../../src/model/mac.ts";
import type { NetworkSource } from "../../src/model/network-source.ts";
import type { EpochRecord } from "../../src/model/trust/epoch-record.ts";
import type { KeyRing } from "../../src/model/trust/key-ring.ts";
import type { MemberRecord } from "../../src/model/trust/membership.ts";
import type { TokenRecord } from "../../src/model/trust/token.ts";
import { openControl } from "../support/control.ts";
import { membershipFor, newSigner } from "../support/trust.ts";

export interface StorePlace {
  openMaster(): MasterDisk;
  openAgent(): AgentStore;
  /** Removes all that the place left behind. */
  dispose(): void;
}

export function agentRecord(n: number): AgentRecord {
  const subnet = cidr(`9.0.${n}.0/24`);
  return {
    id: `agent-${n}`,
    ip: ip(`10.0.0.${n}`),
    hostname: `host-${n}`,
    backend: {
      vni: 1024,
      vtepName: "vtep1024",
      vtepIp: ipInterface(`44.128.0.${n}/20`),
      vtepMac: mac(`70:b3:d5:80:00:${n.toString(16).padStart(2, "0")}`),
    },
    overlays: [{ info: { name: "dcos", subnet: cidr("9.0.0.0/8"), prefix: 24, enabled: true }, subnet }],
  };
}

const ASSIGNMENT: Assignment = {
  agent: agentRecord(1),
  overlaySubnets: [cidr("9.0.0.0/8"), cidr("fd01:b::/64")],
  vtepSubnets: [cidr("44.128.0.0/20")],
  overlayMtu: 1420,
  enableIpv6: true,
};

const attachment = (n: number, delta: Partial<Attachment> = {}): Attachment => ({
  containerId: `container-${n}`,
  ifname: "eth0",
  network: "dcos",
  netns: `/run/netns/${n}`,
  netnsId: `boot-1:${n}`,
  hostIfname: `weft000000000${n}`,
  mac: mac(`02:57:09:00:01:0${n}`),
  ip: ip(`9.0.1.${n}`),
  state: "attached",
  requestId: `request-${n}`,
  runtime: "podman",
  since: "2026-11-21T08:00:00Z",
  ...delta,
});

const BYTES = Buffer.alloc(32, 7).toString("base64url");
const EPOCHS: EpochRecord = {
  epoch: 3,
  floor: 1,
  removals: [{ agentId: "gone", memberId: "0011223344556677", epoch: 2 }],
};
const KEY_RING: KeyRing = { phase: "spreading", current: { id: 1, key: BYTES }, other: { id: 2, key: BYTES } };
const member = (n: number, delta: Partial<MemberRecord> = {}): MemberRecord => ({
  agentId: `agent-${n}`,
  publicKey: BYTES,
  epoch: 1,
  revision: 1,
  content: "digest",
  ...delta,
});
const token = (id: string, delta: Partial<TokenRecord> = {}): TokenRecord => ({
  id,
  kind: "join",
  key: BYTES,
  note: "for host 7",
  created: "2026-11-21T08:00:00Z",
  used: 0,
  epoch: 1,
  revoked: false,
  ...delta,
});

/** Registers the suite for one kind of store. */
export function storeContract(name: string, newPlace: () => StorePlace): void {
  const using = (what: string, body: (place: StorePlace) => void | Promise<void>) =>
    test(`${name}: ${what}`, async () => {
      const place = newPlace();
      try {
        await body(place);
      } finally {
        place.dispose();
      }
    });
  masterContract(using);
  agentContract(using);
}

type Using = (what: string, body: (place: StorePlace) => void | Promise<void>) => void;

/** A valid configuration; the store's reader holds it to all rules. */
const NETWORK: NetworkSource = {
  vtep_subnet: "44.128.0.0/20",
  vtep_mac_oui: "70:B3:D5:00:00:00",
  overlays: [
    { name: "dcos", subnet: "9.0.0.0/8", prefix: 24, enabled: true },
    { name: "web", subnet: "10.0.0.0/8", prefix: 24, enabled: true },
  ],
};

function masterContract(using: Using): void {
  const open = (place: StorePlace) => openControl(place.openMaster());

  using("a new master store is empty", (place) => {
    const { records, book, close } = open(place);
    assert.deepEqual(
      [records.network(), records.agents(), records.trust()],
      [undefined, [], { members: [], tokens: [] }],
    );
    assert.equal(book.revision, 0);
    close();
  });

  using("a master store gives back what it was given, in order, after it was closed and opened", (place) => {
    const { records, write, close } = open(place);
    write(() => records.saveNetwork(NETWORK));
    for (const n of [3, 1, 2]) write(() => records.putAgent(agentRecord(n)));
    const changed = { ...agentRecord(3), hostname: "renamed" };
    write(() => records.putAgent(changed));
    const network = { ...NETWORK, vtep_subnet: "44.128.0.0/16", overlays: NETWORK.overlays.slice(1) };
    write(() => records.saveNetwork(network));
    const expected = [network, [changed, agentRecord(1), agentRecord(2)]];
    assert.deepEqual([records.network(), records.agents()], expected);
    close();
    const again = open(place);
    assert.deepEqual([again.records.network(), again.records.agents(), again.book.revision], [...expected, 6]);
    again.close();
  });

  using("a record can replace that of another identity, in its place", (place) => {
    const { records, write, close } = open(place);
    for (const n of [1, 2]) write(() => records.putAgent(agentRecord(n)));
    const heir = { ...agentRecord(1), id: "heir" };
    write(() => records.putAgent(heir, "agent-1"));
    write(() => records.putAgent(agentRecord(3), "nobody"));
    assert.deepEqual(records.agents(), [heir, agentRecord(2), agentRecord(3)]);
    close();
  });

  using("agents are deleted, unknown ones are no error, and one that comes back is the last", (place) => {
    const { records, write, close } = open(place);
    for (const n of [1, 2, 3]) write(() => records.putAgent(agentRecord(n)));
    for (const id of ["agent-1", "nobody", "agent-3"]) write(() => records.deleteAgent(id));
    write(() => records.putAgent(agentRecord(1)));
    assert.deepEqual(records.agents(), [agentRecord(2), agentRecord(1)]);
    close();
  });

  using("a master store keeps what rests, as it was saved last", (place) => {
    const { records, write, close } = open(place);
    assert.deepEqual(records.resting(), []);
    const resting = [
      { item: cidr("9.0.7.0/24"), network: "dcos", until: "2026-11-21T08:10:00Z", agent: "agent-1" },
      { item: ipInterface("44.128.0.7/20"), until: "2026-11-21T08:10:00Z" },
    ];
    write(() => records.saveResting(resting));
    close();
    const again = open(place);
    assert.deepEqual(again.records.resting(), resting);
    again.write(() => again.records.saveResting([]));
    assert.deepEqual(again.records.resting(), []);
    again.close();
  });

  using("a master store keeps whom the cluster trusts, in order, after it was closed and opened", (place) => {
    const { records, write, close } = open(place);
    for (const n of [2, 1, 3]) write(() => records.putMember(member(n)));
    write(() => records.putMember(member(2, { revision: 7 })));
    for (const id of ["agent-1", "nobody"]) write(() => records.deleteMember(id));
    for (const id of ["bbbbbbbb", "aaaaaaaa", "cccccccc"]) write(() => records.putToken(token(id)));
    write(() => records.putToken(token("bbbbbbbb", { used: 2, revoked: true })));
    write(() => records.deleteToken("aaaaaaaa"));
    write(() => records.saveEpochs({ epoch: 1, floor: 0, removals: [] }));
    write(() => records.saveEpochs(EPOCHS));
    write(() => records.saveKeyRing(KEY_RING));
    const expected = {
      members: [member(2, { revision: 7 }), member(3)],
      tokens: [token("bbbbbbbb", { used: 2, revoked: true }), token("cccccccc")],
      epochs: EPOCHS,
      keyRing: KEY_RING,
    };
    assert.deepEqual(records.trust(), expected);
    close();
    const again = open(place);
    assert.deepEqual(again.records.trust(), expected);
    again.close();
  });

  using("no secret is in the store, nor in its history, and another cluster's key opens none", async (place) => {
    const disk = place.openMaster();
    const { write } = openControl(disk);
    write((records) => records.saveKeyRing(KEY_RING));
    write((records) => records.putToken(token("aaaaaaaa")));
    const term = disk.control.leadNow();
    const text = JSON.stringify([[...term.loadNow().entries], await term.events(0, 10)]);
    assert.ok(text.includes("aaaaaaaa"), "the token is there");
    assert.ok(!text.includes(BYTES), "its key is not, nor is the gossip's");
    const stranger = openControl(disk, Buffer.alloc(32, 2));
    assert.throws(() => stranger.records.trust(), { code: "corrupt-store", message: /cluster\.key/ });
    disk.close();
  });

  using("writes that belong together are there together, or not at all", (place) => {
    const { records, write, close } = open(place);
    write(() => records.putAgent(agentRecord(1)));
    const both = (fails: boolean) => () => {
      records.putAgent({ ...agentRecord(1), id: "heir" }, "agent-1");
      records.deleteAgent("nobody");
      records.saveEpochs(EPOCHS);
      if (fails) throw new Error("in the middle");
    };
    assert.throws(() => write(both(true)), /in the middle/);
    assert.deepEqual([records.agents(), records.trust().epochs], [[agentRecord(1)], undefined]);
    write(both(false));
    assert.deepEqual([records.agents()[0]?.id, records.trust().epochs], ["heir", EPOCHS]);
    close();
  });

  using("each change is one event with who and what, and what changes nothing is none", async (place) => {
    const disk = place.openMaster();
    const { book } = openControl(disk);
    book.change({ who: "anna", what: "one and two" }, () => {
      book.put("one", { a: 1 });
      book.change({ who: "nobody", what: "inside" }, () => book.put("two", 2));
    });
    book.change({ who: "anna", what: "the same again" }, () => book.put("one", { a: 1 }));
    book.change({ who: "berta", what: "without one" }, () => book.delete("one"));
    const at = "1970-01-01T00:00:00Z";
    const events = await disk.control.leadNow().events(0, 10);
    assert.deepEqual(
      events.map((event) => ({ ...event, at })),
      [
        {
          revision: 1,
          at,
          who: "anna",
          what: "one and two",
          changes: [
            { key: "one", after: { a: 1 } },
            { key: "two", after: 2 },
          ],
        },
        { revision: 2, at, who: "berta", what: "without one", changes: [{ key: "one", before: { a: 1 } }] },
      ],
    );
    assert.equal(book.revision, 2);
    disk.close();
  });

  using("a place has one master at a time, and is free again when that one closes", (place) => {
    const { write, close } = open(place);
    assert.throws(() => place.openMaster(), { code: "in-use" });
    write((records) => records.putAgent(agentRecord(1)));
    close();
    place.openMaster().close();
  });
}

function agentContract(using: Using): void {
  using("a new agent store is empty", (place) => {
    const store = place.openAgent();
    assert.deepEqual([store.identity(), store.assignment(), store.leases()], [undefined, undefined, []]);
    store.close();
  });

  using("a removal takes the assignment, and lasts until there is another one", (place) => {
    const store = place.openAgent();
    assert.equal(store.wasRemoved(), false);
    store.saveAssignment(ASSIGNMENT);
    store.saveRemoval();
    store.close();
    const again = place.openAgent();
    assert.deepEqual([again.wasRemoved(), again.assignment()], [true, undefined]);
    again.saveAssignment(ASSIGNMENT);
    assert.equal(again.wasRemoved(), false);
    again.close();
  });

  using("an agent store gives back identity, assignment and attachments after it was closed and opened", (place) => {
    const store = place.openAgent();
    store.saveIdentity("agent-1");
    store.saveAssignment({ ...ASSIGNMENT, enableIpv6: false });
    store.saveAssignment(ASSIGNMENT);
    store.putLease(attachment(1, { state: "pending" }));
    store.putLease(attachment(2, { ip: undefined, ip6: ip("fd01:b::2") }));
    store.putLease(attachment(1));
    store.putLease(attachment(1, { ifname: "eth1" }));
    store.close();
    const again = place.openAgent();
    assert.equal(again.identity(), "agent-1");
    assert.deepEqual(again.assignment(), ASSIGNMENT);
    const { ip: _, ...six } = attachment(2, { ip6: ip("fd01:b::2") });
    assert.deepEqual(again.leases(), [attachment(1), six, attachment(1, { ifname: "eth1" })]);
    again.close();
  });

  using("an agent's membership comes back byte for byte, can be replaced, and forgotten", (place) => {
    const store = place.openAgent();
    assert.equal(store.membership(), undefined);
    const [first, second] = [1, 2].map(() => membershipFor(ASSIGNMENT, newSigner(), newSigner()));
    assert.ok(first !== undefined && second !== undefined);
    store.saveMembership(first);
    store.saveMembership(second);
    store.close();
    const again = place.openAgent();
    assert.deepEqual(again.membership(), second);
    again.saveGossipMembers([{ id: "m", blob: Uint8Array.of(1) }]);
    again.saveNewestWords([{ agentId: "agent-1", epoch: 1, revision: 1 }], []);
    again.saveGossipGen(7);
    again.forgetMembership();
    assert.equal(again.membership(), undefined);
    assert.deepEqual([again.gossipMembers(), again.newestWords()], [[], []], "of that cluster is nothing left");
    assert.equal(again.gossipGen(), 7, "no gen is ever used twice");
    again.close();
  });

  using("the ages of the newest words come back, are replaced, and go", (place) => {
    const store = place.openAgent();
    const word = (agentId: string, revision: number) => ({ agentId, epoch: 3, revision });
    store.saveNewestWords([word("agent-1", 1), word("agent-2", 1)], []);
    store.saveNewestWords([word("agent-1", 2), word("agent-3", 1)], ["agent-2", "agent-9"]);
    store.close();
    const again = place.openAgent();
    assert.deepEqual(again.newestWords(), [word("agent-1", 2), word("agent-3", 1)]);
    again.close();
  });

  using("an attachment is deleted by container and interface, an unknown one is no error", (place) => {
    const store = place.openAgent();
    for (const ifname of ["eth0", "eth1"]) store.putLease(attachment(1, { ifname }));
    store.deleteLease({ containerId: "container-1", ifname: "eth0" }, [ip("9.0.1.1")]);
    store.deleteLease({ containerId: "container-1", ifname: "eth9" }, []);
    assert.deepEqual(store.leases(), [attachment(1, { ifname: "eth1" })]);
    store.close();
  });

  using("released addresses rest in the order of their release, until they are forgotten", (place) => {
    const store = place.openAgent();
    const [one, two, three] = [ip("9.0.1.1"), ip("fd01:b::2"), ip("9.0.1.3")];
    for (const addresses of [[one, two], [three], [one]])
      store.deleteLease({ containerId: "c", ifname: "eth0" }, addresses);
    store.close();
    const again = place.openAgent();
    assert.deepEqual(again.resting(), [two, three, one]);
    again.forgetResting([three, ip("9.9.9.9")]);
    assert.deepEqual(again.resting(), [two, one]);
    again.close();
  });

  using("a lease without devices stays one", (place) => {
    const store = place.openAgent();
    const { hostIfname: _, mac: __, ...lone } = attachment(1);
    store.putLease(lone);
    assert.deepEqual(store.leases(), [lone]);
    store.close();
  });

  using("a place has one agent at a time, and is free again when that one closes", (place) => {
    const agent = place.openAgent();
    assert.throws(() => place.openAgent(), { code: "in-use" });
    agent.close();
    place.openAgent().close();
  });
}

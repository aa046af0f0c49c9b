/**
 * What every store of master and agent must do, whatever it keeps its data in. A place is what survives a store: a
 * directory, or a disk in memory.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { AgentStore, MasterStore } from "../../src/io/ports.ts";
import type { Attachment } from "../../src/model/attachment.ts";
import type { AgentRecord, Assignment } from "../../src/model/cluster.ts";
import { cidr, ip, ipInterface } from "../../src/model/ip.ts";
import { mac } from "../../src/model/mac.ts";
import type { EpochRecord } from "../../src/model/trust/epoch-record.ts";
import type { KeyRing } from "../../src/model/trust/key-ring.ts";
import type { MemberRecord } from "../../src/model/trust/membership.ts";
import type { TokenRecord } from "../../src/model/trust/token.ts";
import { membershipFor, newSigner } from "../support/trust.ts";

export interface StorePlace {
  openMaster(): MasterStore;
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
  const using = (what: string, body: (place: StorePlace) => void) =>
    test(`${name}: ${what}`, () => {
      const place = newPlace();
      try {
        body(place);
      } finally {
        place.dispose();
      }
    });
  masterContract(using);
  agentContract(using);
}

type Using = (what: string, body: (place: StorePlace) => void) => void;

function masterContract(using: Using): void {
  using("a new master store is empty", (place) => {
    const store = place.openMaster();
    assert.deepEqual(store.load(), { network: undefined, agents: [] });
    store.close();
  });

  using("a master store gives back what it was given, in order, after it was closed and opened", (place) => {
    const store = place.openMaster();
    store.saveNetwork({ vtep_subnet: "44.128.0.0/20", overlays: [] });
    for (const n of [3, 1, 2]) store.putAgent(agentRecord(n));
    const changed = { ...agentRecord(3), hostname: "renamed" };
    store.putAgent(changed);
    store.saveNetwork({ vtep_subnet: "44.128.0.0/16" });
    const expected = { network: { vtep_subnet: "44.128.0.0/16" }, agents: [changed, agentRecord(1), agentRecord(2)] };
    assert.deepEqual(store.load(), expected);
    store.close();
    const again = place.openMaster();
    assert.deepEqual(again.load(), expected);
    again.close();
  });

  using("a record can replace that of another identity, in its place", (place) => {
    const store = place.openMaster();
    for (const n of [1, 2]) store.putAgent(agentRecord(n));
    const heir = { ...agentRecord(1), id: "heir" };
    store.putAgent(heir, "agent-1");
    store.putAgent(agentRecord(3), "nobody");
    assert.deepEqual(store.load().agents, [heir, agentRecord(2), agentRecord(3)]);
    store.close();
  });

  using("agents are deleted, unknown ones are no error, and one that comes back is the last", (place) => {
    const store = place.openMaster();
    for (const n of [1, 2, 3]) store.putAgent(agentRecord(n));
    store.deleteAgents(["agent-1", "nobody", "agent-3"]);
    store.putAgent(agentRecord(1));
    assert.deepEqual(store.load().agents, [agentRecord(2), agentRecord(1)]);
    store.close();
  });

  using("a master store keeps what rests, as it was saved last", (place) => {
    const store = place.openMaster();
    assert.equal(store.load().resting, undefined);
    const resting = [
      { item: cidr("9.0.7.0/24"), network: "dcos", until: "2026-11-21T08:10:00Z", agent: "agent-1" },
      { item: ipInterface("44.128.0.7/20"), until: "2026-11-21T08:10:00Z" },
    ];
    store.saveResting(resting);
    store.close();
    const reopened = place.openMaster();
    assert.deepEqual(reopened.load().resting, resting);
    reopened.saveResting([]);
    assert.deepEqual(reopened.load().resting, []);
    reopened.close();
  });

  using("a master store keeps whom the cluster trusts, in order, after it was closed and opened", (place) => {
    const store = place.openMaster();
    assert.deepEqual(store.loadTrust(), { members: [], tokens: [] });
    for (const n of [2, 1, 3]) store.putMember(member(n));
    store.putMember(member(2, { revision: 7 }));
    store.deleteMembers(["agent-1", "nobody"]);
    for (const id of ["bbbbbbbb", "aaaaaaaa", "cccccccc"]) store.putToken(token(id));
    store.putToken(token("bbbbbbbb", { used: 2, revoked: true }));
    store.deleteToken("aaaaaaaa");
    store.saveEpochs({ epoch: 1, floor: 0, removals: [] });
    store.saveEpochs(EPOCHS);
    store.saveKeyRing(KEY_RING);
    const expected = {
      members: [member(2, { revision: 7 }), member(3)],
      tokens: [token("bbbbbbbb", { used: 2, revoked: true }), token("cccccccc")],
      epochs: EPOCHS,
      keyRing: KEY_RING,
    };
    assert.deepEqual(store.loadTrust(), expected);
    store.close();
    const again = place.openMaster();
    assert.deepEqual(again.loadTrust(), expected);
    again.close();
  });

  using("writes that belong together are there together, or not at all", (place) => {
    const store = place.openMaster();
    store.putAgent(agentRecord(1));
    const both = (fails: boolean) => () => {
      store.putAgent({ ...agentRecord(1), id: "heir" }, "agent-1");
      store.deleteAgents(["nobody"]);
      store.saveEpochs(EPOCHS);
      if (fails) throw new Error("in the middle");
    };
    assert.throws(() => store.atomically(both(true)), /in the middle/);
    assert.deepEqual([store.load().agents, store.loadTrust().epochs], [[agentRecord(1)], undefined]);
    store.atomically(both(false));
    assert.deepEqual([store.load().agents[0]?.id, store.loadTrust().epochs], ["heir", EPOCHS]);
    store.close();
  });

  using("a place has one master at a time, and is free again when that one closes", (place) => {
    const store = place.openMaster();
    assert.throws(() => place.openMaster(), { code: "in-use" });
    store.putAgent(agentRecord(1));
    store.close();
    place.openMaster().close();
  });
}

function agentContract(using: Using): void {
  using("a new agent store is empty", (place) => {
    const store = place.openAgent();
    assert.deepEqual([store.identity(), store.assignment(), store.leases()], [undefined, undefined, []]);
    store.close();
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
    again.forgetMembership();
    assert.equal(again.membership(), undefined);
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

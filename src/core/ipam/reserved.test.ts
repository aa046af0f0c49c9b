import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { SEED_ATTACHMENT, seedAssignment } from "../../../test/support/seed-cluster.ts";
import type { Lease } from "../../model/attachment.ts";
import type { Assignment } from "../../model/cluster.ts";
import { Fault } from "../../model/fault.ts";
import type { Hosting } from "../../model/hosting.ts";
import { cidr, type Ip, ip } from "../../model/ip.ts";
import { ADDRESS_REST_MS } from "../../model/limits.ts";
import { pickAddresses } from "./lease.ts";
import { Ledger } from "./ledger.ts";
import { pickAddress } from "./pick-address.ts";
import { Unclaimed } from "./reserved.ts";

const WHO = {
  ...{ containerId: "c9", ifname: "eth0", network: "dcos", netns: "/run/netns/c9", netnsId: "boot-1:9" },
  ...{ requestId: "r9", runtime: "podman", since: "2026-11-21T08:00:00Z" },
};
const reserved = (name: string, ...addresses: string[]) => ({ network: "dcos", name, addresses: addresses.map(ip) });
const ASSIGNMENT: Assignment = {
  ...seedAssignment(1),
  reservations: [
    reserved("web", "9.0.1.77"),
    reserved("pool", "9.0.1.2", "9.0.1.3"),
    reserved("far", "9.0.2.5", "9.0.2.6"),
    { ...reserved("web", "9.0.1.4"), network: "elsewhere" },
  ],
};
const AGENT = ASSIGNMENT.agent.id;

function leaseOf(address: string, name?: string): Lease {
  return { ...SEED_ATTACHMENT, containerId: `holder-${address}`, ip: ip(address), ...(name !== undefined && { name }) };
}

interface Given {
  readonly name?: string;
  readonly ips?: readonly string[];
  readonly held?: readonly Lease[];
  readonly hosting?: readonly (readonly [address: string, agentId: string])[];
  readonly isLone?: boolean;
}

function given({ name, ips = [], held = [], hosting = [], isLone = false }: Given): string {
  const who = { ...WHO, ...(name !== undefined && { name }) };
  const hosts: Hosting = new Map(hosting.map(([address, agentId], i) => [ip(address), { agentId, revision: i + 1 }]));
  try {
    const world = { ledger: new Ledger([], held, 0), now: 0, hosting: hosts, ...(isLone && { kind: "lone" as const }) };
    return pickAddresses({ who, ips: ips.map(ip) }, ASSIGNMENT, world)
      .map(({ address }) => address)
      .join();
  } catch (error) {
    assert(error instanceof Fault);
    return error instanceof Unclaimed ? `ask for ${error.wanted.join()}` : `${error.code}: ${error.message}`;
  }
}

test("which address a container with a name gets, and who without one gets none of them", () => {
  const table: readonly [Given, string | RegExp][] = [
    [{ name: "web" }, "9.0.1.77"],
    [{ name: "pool" }, "9.0.1.2"],
    [{ name: "pool", held: [leaseOf("9.0.1.2", "pool")] }, "9.0.1.3"],
    [{}, "9.0.1.5"],
    [{ name: "nobody" }, "9.0.1.5"],
    [{ name: "web", ips: ["9.0.1.77"] }, "9.0.1.77"],
    [{ name: "pool", ips: ["9.0.1.3"] }, "9.0.1.3"],
    [{ name: "web", ips: ["9.0.1.90"] }, "9.0.1.90"],
    [{ name: "pool", ips: ["9.0.1.77"] }, /address-taken: .*is reserved for web on network dcos/],
    [{ ips: ["9.0.1.77"] }, /address-taken: .*is reserved for web/],
    [{ name: "web", ips: ["9.0.1.4"] }, /address-taken: .*is reserved for web on network elsewhere/],
    [{ name: "web", held: [leaseOf("9.0.1.77", "old")] }, /address-taken: .*container holder-9\.0\.1\.77 \(old\); end/],
    [
      { name: "pool", held: [leaseOf("9.0.1.2", "pool"), leaseOf("9.0.1.3", "pool")] },
      /address-taken: .*all 2 addresses of its family/,
    ],
    // Of another agent's slice: by the cluster's word only.
    [{ name: "far" }, "ask for 9.0.2.5,9.0.2.6"],
    [{ name: "far", ips: ["9.0.2.6"] }, "ask for 9.0.2.6"],
    [{ name: "far", hosting: [["9.0.2.6", AGENT]] }, "9.0.2.6"],
    [{ name: "far", hosting: [["9.0.2.6", AGENT]], held: [leaseOf("9.0.2.6", "far")] }, "ask for 9.0.2.5"],
    [{ name: "far", isLone: true }, /bad-request: .*lies on another agent; weft-ipam/],
    [{ name: "far", isLone: true, hosting: [["9.0.2.6", AGENT]] }, /bad-request/],
    [{ ips: ["9.0.2.5"] }, /address-taken: .*is reserved for far/],
    // Of the own slice, and elsewhere by the cluster's word.
    [{ name: "web", hosting: [["9.0.1.77", "agent-2"]] }, "ask for 9.0.1.77"],
    [{ name: "pool", hosting: [["9.0.1.2", "agent-2"]] }, "9.0.1.3"],
    [{ name: "pool", hosting: [["9.0.1.3", AGENT]] }, "9.0.1.3"],
    [{ name: "web", isLone: true }, "9.0.1.77"],
  ];
  for (const [what, expected] of table) {
    const got = given(what);
    if (typeof expected === "string") assert.equal(got, expected, JSON.stringify(what));
    else assert.match(got, expected, JSON.stringify(what));
  }
});

test("what rests does so for its name: the next container of it has it at once, another one never", () => {
  const ledger = new Ledger([], [leaseOf("9.0.1.77", "web")], 0);
  ledger.release(leaseOf("9.0.1.77", "web"), 10);
  const [pick] = pickAddresses({ who: { ...WHO, name: "web" }, ips: [] }, ASSIGNMENT, { ledger, now: 11 });
  assert.deepEqual(pick, { address: "9.0.1.77", half: "9.0.1.0/25", isEarly: false, isReserved: true });
});

const HALF = cidr("9.0.1.0/28");
const everyAddress = Array.from({ length: 13 }, (_, n) => ip(`9.0.1.${n + 2}`));

test("whatever is given and taken back, early or not: nothing that is kept, and all else that there is", () => {
  const step = fc.record({ release: fc.option(fc.nat(20), { nil: undefined }), passes: fc.nat(ADDRESS_REST_MS) });
  fc.assert(
    fc.property(fc.subarray(everyAddress), fc.array(step, { maxLength: 60 }), (kept, steps) => {
      const ledger = new Ledger([], [], 0);
      // A name's container comes and goes beside them.
      const named = kept.slice(0, 1);
      const held: Ip[] = [];
      let now = 0;
      for (const { release, passes } of steps) {
        now += passes;
        for (const address of named) {
          ledger.hold(leaseOf(address, "web"));
          ledger.release(leaseOf(address, "web"), now);
        }
        const back = release === undefined ? undefined : held.splice(release, 1)[0];
        if (back !== undefined) {
          ledger.release(leaseOf(back), now);
          continue;
        }
        const pick = pickAddress([HALF], ledger, now, (address) => kept.includes(address));
        if (pick === undefined) {
          assert.equal(held.length + kept.length, everyAddress.length, "refused only when all others are held");
          continue;
        }
        assert(!kept.includes(pick.address), `${pick.address} is kept`);
        assert(!held.includes(pick.address));
        ledger.hold(leaseOf(pick.address));
        ledger.gave(HALF, pick.address);
        held.push(pick.address);
      }
    }),
  );
});

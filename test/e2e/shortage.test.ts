/**
 * A small network on a host of a lab that is filled by CNI: the runtime is refused with the reason, and the history of the
 * cluster says when addresses ran out, where, and when that was over.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Netns } from "../../src/app/demo/netns.ts";
import { callCni } from "../../src/app/demo/runtime.ts";
import { waitFor } from "../../src/app/demo/wait.ts";
import { labOrReason } from "../support/lab.ts";
import { agentOf, createCluster, weft } from "../support/lab-cluster.ts";

const skip = await labOrReason();

/** Two slices of 8 addresses, each with two halves of one address for containers. */
const CONFIG = `
dcos_overlay_network:
  vtep_subnet: 44.128.0.0/20
  vtep_mac_oui: 70:B3:D5:00:00:00
  overlays:
    - { name: tiny, subnet: 9.0.0.0/28, prefix: 29 }
`;
const HOLDS = 4;
const WAIT_MS = 20_000;
/** A shortage lasts for a minute at least, and a quiet host looks twice in that time. */
const OVER_MS = 150_000;

test("a network that is used up, and a container that is refused, are in weft events, and so is their end", {
  skip,
}, async () => {
  const cluster = await createCluster({ hosts: 1, config: CONFIG });
  const host = agentOf(cluster, 1);
  const call = async (command: "ADD" | "DEL", containerId: string, netns: Netns) =>
    callCni(host, command, "tiny", { containerId, netns: netns.path, ifname: "eth0" });
  const containers: [string, Netns][] = [];
  const add = async () => {
    const id = `c${containers.length}`;
    const netns = await Netns.create(`short-${id}`);
    containers.push([id, netns]);
    return call("ADD", id, netns);
  };
  /** One line each: `REVISION WHO WHAT`. */
  const events = async () => {
    const { stdout } = await weft(["events", "--json", "--master", cluster.master.address]);
    const all = (JSON.parse(stdout) as { events: { revision: number; who: string; what: string }[] }).events;
    return all.map(({ revision, who, what }) => `${revision} ${who} ${what}`).join("\n");
  };
  const line = (pattern: RegExp, ms = WAIT_MS) =>
    waitFor(`${pattern} in weft events`, ms, async () =>
      (await events()).split("\n").find((each) => pattern.test(each)),
    );

  for (let n = 0; n < HOLDS; n++) {
    const { status, reply } = await add();
    assert.equal(status, 0, JSON.stringify(reply));
  }
  await line(/ master network tiny is used up: no agent gets an IPv4 slice of it/);
  assert.doesNotMatch(await events(), /no free address/, "a host that is full has refused nobody yet");

  for (let n = 0; n < 3; n++) {
    const { status, reply } = await add();
    assert.equal(status, 1);
    assert.match(JSON.stringify(reply), /network tiny has no free address .* no further slice/);
  }
  await line(/agent \S+ \(host1\): network tiny has no free address for containers; one of \S+ was refused/);
  const state = (await weft(["state", "--json", "--master", cluster.master.address])).stdout;
  assert.match(state, /shortage\/tiny\/4/);
  assert.match(state, /shortage\/tiny\/agent\//);

  const [first] = containers;
  assert.ok(first !== undefined);
  assert.equal((await call("DEL", ...first)).status, 0);
  assert.equal((await add()).status, 0, "an address is given again");
  assert.equal((await call("DEL", ...(containers[1] ?? first))).status, 0);
  await line(/\(host1\): the shortage of addresses of network tiny is over/, OVER_MS);
  const all = await events();
  assert.equal(all.match(/no free address/g)?.length, 1, all);
});

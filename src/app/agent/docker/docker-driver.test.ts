/** A Docker engine's calls on a simulated host: what they make, what they refuse, and what stays after them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeAttachRig } from "../../../../test/support/attach-rig.ts";
import { EngineHand, engineId } from "../../../../test/support/engine-hand.ts";
import { isAttachment } from "../../../model/attachment.ts";
import { ENGINE_CALL_MAX_MS } from "../../../model/engine-limits.ts";
import { cidr, ipInterface } from "../../../model/ip.ts";
import { ADDRESS_REST_MS, INTERFACE_RANK_MAX } from "../../../model/limits.ts";
import { INTERFACE_TABLE } from "../../../model/names.ts";

async function open(): Promise<{ rig: FakeAttachRig; hand: EngineHand }> {
  const rig = await FakeAttachRig.open();
  return { rig, hand: new EngineHand(rig) };
}

/** A pass of the agent. */
async function pass(rig: FakeAttachRig): Promise<void> {
  await rig.service.repair(await rig.kernel.observe([]));
  await rig.pass();
}

test("a container gets addresses, a device, and when it ends nothing stays but addresses that rest", async () => {
  const { rig, hand } = await open();
  const before = await rig.dump();
  const both = await hand.network("both");
  const { addresses, sandbox, device } = await hand.start("web", both);
  assert.deepEqual(addresses, ["10.8.0.10/32", "fd01:c::8000:0:2/128"]);
  await pass(rig);
  const [lease] = rig.service.attachments();
  const host = await rig.dump();
  // Until the container knows its gateway it asks: no other runtime's does.
  for (const answered of [
    /arp saddr ip 10\.8\.0\.10 accept/,
    /icmpv6 type 135 accept/,
    /fd01:c::8000:0:1\/128 dev weft/,
  ])
    assert.match(host, answered);
  assert.equal(lease?.docker?.ifname, "eth0");
  assert.equal(lease?.netns, sandbox);
  assert.match(device ?? "", /^wd[0-9a-f]{10}$/);
  const inside = (await rig.dump(sandbox)).split(`${sandbox}:`)[1] ?? "";
  assert.match(inside, /rule from 10\.8\.0\.10\/32 lookup 871|10\.8\.0\.10\/32.*871/);
  assert.match(inside, /02:57:00:00:00:01/, "it knows its gateway");
  await pass(rig);
  await hand.stop("web");
  assert.equal(await rig.dump(), before);
  assert.deepEqual(rig.store.leases(), []);
  assert.deepEqual(rig.store.resting().length, 2);
  const next = await hand.start("next", both);
  assert.deepEqual(next.addresses, ["10.8.0.11/32", "fd01:c::8000:0:3/128"]);
});

test("what is asked of Join is what the engine builds the inside of", async () => {
  const { hand } = await open();
  const both = await hand.network("both");
  const { PoolID } = await hand.call("RequestPool", {
    ...{ Pool: "10.8.0.0/16", V6: false, Options: { "weft.network": "both" } },
  });
  const { Address } = await hand.call("RequestAddress", { PoolID, Address: "" });
  const ids = { NetworkID: both, EndpointID: engineId("e1") };
  const made = await hand.call("CreateEndpoint", { ...ids, Interface: { Address } });
  assert.deepEqual(made, { Interface: { MacAddress: "02:57:0a:08:00:0a" } });
  const { InterfaceName, ...joined } = await hand.call("Join", { ...ids, SandboxKey: "/run/docker/netns/x" });
  assert.equal(InterfaceName.DstPrefix, "eth");
  assert.deepEqual(joined, {
    Gateway: "10.8.0.9",
    GatewayIPv6: "",
    StaticRoutes: [
      { Destination: "10.8.0.9/32", RouteType: 1, NextHop: "" },
      { Destination: "10.8.0.0/16", RouteType: 0, NextHop: "10.8.0.9" },
    ],
    DisableGatewayService: true,
  });
  const again = await hand.call("Join", { ...ids, SandboxKey: "/run/docker/netns/x" });
  assert.deepEqual(again, { InterfaceName, ...joined }, "a repeated call has the same answer");
});

test("where a container has an interface already, the next one is made inside, and the engine takes none", async () => {
  const { rig, hand } = await open();
  const both = await hand.network("both");
  const sandbox = "/run/docker/netns/x";
  await rig.newNetns(sandbox);
  const inside = await rig.kernel.enter(sandbox);
  await inside.apply([{ op: "link.add", link: { kind: "bridge", name: "eth0", up: true } }]);
  const before = await rig.dump(sandbox);
  const rule = { src: cidr("10.8.0.10/32"), table: INTERFACE_TABLE + INTERFACE_RANK_MAX, priority: 32_087 };
  await inside.apply([{ op: "rule.add", rule }]); // one that stayed when its device went
  const ids = { NetworkID: both, EndpointID: engineId("e1") };
  const { Address } = await hand.call("RequestAddress", { PoolID: "both/4", Address: "" });
  await hand.call("CreateEndpoint", { ...ids, Interface: { Address } });
  const joined = await hand.call("Join", { ...ids, SandboxKey: sandbox });
  assert.deepEqual(joined.InterfaceName, { SrcName: "", DstPrefix: "weft" });
  assert.deepEqual(await hand.call("Join", { ...ids, SandboxKey: sandbox }), joined, "a repeated call");
  const state = await inside.observe([]);
  assert.deepEqual(state.links.find(({ name }) => name === "weft0")?.up, true);
  assert.deepEqual(
    state.routes.map(({ dst, table }) => `${dst} ${table}`).sort(),
    ["0.0.0.0/0 1869", "10.8.0.9/32 1869", "10.8.0.9/32 254"],
    "the default route is the engine's",
  );
  const whole = await rig.dump();
  await pass(rig);
  assert.equal(await rig.dump(), whole, "a pass finds nothing to do");
  await hand.call("Leave", ids);
  assert.equal(await rig.dump(sandbox), before);
});

test("a MAC of the user's own is kept, and is nobody else's", async () => {
  const { hand } = await open();
  const both = await hand.network("both");
  const endpoint = async (name: string, MacAddress: string) => {
    const { Address } = await hand.call("RequestAddress", { PoolID: "both/4", Address: "" });
    const ids = { NetworkID: both, EndpointID: engineId(name) };
    const made = await hand.call("CreateEndpoint", { ...ids, Interface: { Address, MacAddress } });
    await hand.call("Join", { ...ids, SandboxKey: `/run/docker/netns/${name}` });
    return made;
  };
  assert.deepEqual(
    await endpoint("a", "02:00:00:00:00:77"),
    { Interface: {} },
    "what Docker filled must not come back",
  );
  await assert.rejects(endpoint("b", "02:00:00:00:00:77"), /MAC 02:00:00:00:00:77 is that of container/);
});

test("the halves lend to each other, and what is used up is said in words", async () => {
  const { rig, hand } = await open();
  const both = await hand.network("both");
  const given: string[] = [];
  for (const name of ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"])
    given.push((await hand.start(name, both)).addresses[0] ?? "");
  assert.deepEqual(
    given.slice(0, 6),
    [10, 11, 12, 13, 14, 2].map((last) => `10.8.0.${last}/32`),
  );
  await assert.rejects(
    hand.start("k", both),
    /network both has no free address in 10\.8\.0\.8\/29 .* and 10\.8\.0\.0\/29/,
  );
  await hand.stop("c");
  rig.clock.advance(ADDRESS_REST_MS);
  assert.equal((await hand.start("k", both)).addresses[0], "10.8.0.12/32");
});

test("an address is one container's, whoever attached it, and a stale release frees nobody else's", async () => {
  const { rig, hand } = await open();
  const both = await hand.network("both");
  const { addresses } = await hand.start("a", both, [], "10.8.0.12");
  assert.equal(addresses[0], "10.8.0.12/32");
  await assert.rejects(hand.start("b", both, [], "10.8.0.12"), /10\.8\.0\.12 is held by container/);
  await rig.newNetns("/run/netns/cni");
  const cni = { command: "ADD", containerId: "cni", netns: "/run/netns/cni", network: "both" } as const;
  const { json } = await rig.call({ ...cni, environment: { CNI_ARGS: "IgnoreUnknown=1;IP=10.8.0.12" } });
  assert.match(JSON.stringify(json), /10\.8\.0\.12 is held by container/);
  await rig.call({ ...cni, environment: { CNI_ARGS: "IgnoreUnknown=1;IP=10.8.0.3" } });
  for (const Address of ["10.8.0.12", "10.8.0.3", "10.8.0.14", "10.8.0.9"])
    assert.deepEqual(await hand.call("ReleaseAddress", { PoolID: "both/4", Address }), {});
  assert.deepEqual(
    rig.service
      .leases()
      .map(({ ip }) => ip)
      .sort(),
    ["10.8.0.12", "10.8.0.3"],
  );
});

test("ports are opened when Docker says so, each for one container, and closed again", async () => {
  const { rig, hand } = await open();
  const both = await hand.network("both");
  const port = { Proto: 6, IP: "", Port: 80, HostIP: "", HostPort: 8080, HostPortEnd: 8080 };
  const idle = await rig.dump();
  await hand.start("web", both, [port, { ...port, Port: 53, Proto: 17, HostPort: 0, HostPortEnd: 0 }]);
  const [web] = rig.service.attachments();
  assert.deepEqual(web?.ports, [
    { protocol: "tcp", containerPort: 80, hostPort: 8080 },
    { protocol: "udp", containerPort: 53, hostPort: 61_000 },
  ]);
  await pass(rig);
  await assert.rejects(hand.start("rival", both, [port]), /tcp port 8080 of this host is held by container/);
  const { addresses } = await hand.start("range", both, [{ ...port, HostPortEnd: 8082 }]);
  assert.deepEqual(rig.service.attachments().at(-1)?.ports?.[0]?.hostPort, 8081, String(addresses));
  rig.holders = () => [{ address: "0.0.0.0" as never, pid: 1, command: "nginx" }];
  await assert.rejects(
    hand.start("late", both, [{ ...port, HostPort: 9000, HostPortEnd: 9000 }]),
    /held by process 1 \(nginx\)/,
  );
  await assert.rejects(hand.start("sctp", both, [{ ...port, Proto: 132 }]), /only tcp and udp ports/);
  await hand.stop("web");
  await hand.stop("range");
  assert.equal(await rig.dump(), idle);
});

test("a network without a way out has no gateway, and one of another MTU has that", async () => {
  const { rig, hand } = await open();
  const inner = await hand.network("both", { internal: true });
  const small = await hand.network("both", { mtu: 1_300 });
  await hand.start("in", inner);
  await hand.start("small", small);
  await pass(rig);
  assert.match(await rig.dump(), /mtu 1300/);
  assert.deepEqual(
    rig.service.attachments().map(({ docker }) => [docker?.internal, docker?.mtu]),
    [
      [true, undefined],
      [undefined, 1_300],
    ],
  );
  await assert.rejects(hand.network("both", { mtu: 9_000 }), /MTU 9000: network both carries 552 to \d+ bytes/);
});

test("what cannot be is refused with the remedy", async () => {
  const { rig, hand } = await open();
  const pool = { Pool: "10.8.0.0/16", SubPool: "", Options: { "weft.network": "both" }, V6: false };
  const refusals: readonly [string, object, RegExp][] = [
    [
      "RequestPool",
      { ...pool, Options: {}, Pool: "" },
      /which network of the cluster\? Give --ipam-opt weft\.network=NAME/,
    ],
    ["RequestPool", { ...pool, Options: { "weft.network": "none" } }, /no network none here \(this host has .*both/],
    ["RequestPool", { ...pool, Options: {}, Pool: "10.99.0.0/16" }, /no network of the cluster has the subnet 10\.99/],
    ["RequestPool", { ...pool, Pool: "10.8.0.0/24" }, /has 10\.8\.0\.0\/16; give --subnet 10\.8\.0\.0\/16/],
    ["RequestPool", { ...pool, SubPool: "10.8.0.0/28" }, /leave it out/],
    ["RequestPool", { Pool: 7 }, /^remote: RequestPool: /],
    ["RequestAddress", { PoolID: "mist", Address: "" }, /mist is no pool of weft/],
    [
      "CreateNetwork",
      {
        NetworkID: "n",
        Options: { "com.docker.network.generic": { "weft.network": "dcos" } },
        IPv4Data: [{ Pool: "10.8.0.0/16", AddressSpace: "weft" }],
      },
      /network dcos of the cluster has 9\.0\.0\.0\/8; give --subnet/,
    ],
    ["RequestAddress", { PoolID: "both/4", Address: "10.8.7.7" }, /10\.8\.7\.7 is no address that this host gives/],
    [
      "CreateEndpoint",
      { NetworkID: "n", EndpointID: "e", Interface: { Address: "10.8.0.12/32" } },
      /does not know the Docker network/,
    ],
    ["Join", { NetworkID: "n", EndpointID: "e", SandboxKey: "/x" }, /there is no endpoint e here/],
    ["Join", { NetworkID: "n", EndpointID: "e", SandboxKey: "../x" }, /SandboxKey/],
  ];
  for (const [method, body, message] of refusals) await assert.rejects(hand.call(method, body), { message }, method);
  rig.isReady = false;
  await assert.rejects(hand.call("RequestPool", pool), /has no addresses yet; it is waiting for its master/);
});

test("a network is made of Weft's own addresses, by its own gateway, and keeps none aside", async () => {
  const { hand } = await open();
  const gateway = { PoolID: "both/4", Options: { RequestAddressType: "com.docker.network.gateway" } };
  await assert.rejects(hand.call("RequestAddress", { ...gateway, Address: "10.8.0.1" }), /leave --gateway out/);
  assert.deepEqual(await hand.call("RequestAddress", { ...gateway, Address: "10.8.0.9" }), {
    Address: "10.8.0.9/16",
    Data: {},
  });
  const create = (data: object) =>
    hand.call("CreateNetwork", {
      NetworkID: engineId("n"),
      Options: { "com.docker.network.generic": { "weft.network": "both" } },
      IPv4Data: [{ AddressSpace: "weft", Pool: "10.8.0.0/16", ...data }],
    });
  await assert.rejects(create({ AddressSpace: "LocalDefault" }), /add --ipam-driver weft/);
  await assert.rejects(create({ AuxAddresses: { h1: "10.8.0.12/32" } }), /leave --aux-address out/);
  assert.deepEqual(await create({}), {});
});

test("an endpoint is made of what was asked for it alone", async () => {
  const { rig, hand } = await open();
  const both = await hand.network("both");
  const { addresses } = await hand.start("web", both);
  await rig.newNetns("/run/netns/cni");
  const { json } = await rig.call({ command: "ADD", containerId: "cni", netns: "/run/netns/cni", network: "both" });
  const [cni = ""] = (json.ips as { address: string }[]).map(({ address }) => address);
  const make = (Address: string) =>
    hand.call("CreateEndpoint", { NetworkID: both, EndpointID: engineId("thief"), Interface: { Address } });
  for (const address of [addresses[0] ?? "", cni, "10.8.0.14/32"])
    await assert.rejects(make(address), /was not given to Docker for network both/, address);
  assert.equal(rig.service.leases().length, 2);
});

test("what the kernel refuses leaves nothing", async () => {
  const { rig, hand } = await open();
  const both = await hand.network("both");
  const before = await rig.dump();
  const apply = rig.kernel.apply.bind(rig.kernel);
  const refuse = (kind: string) => {
    rig.kernel.apply = async (ops) => {
      const failures = await apply(ops.filter(({ op }) => op !== kind));
      const refused = ops.filter(({ op }) => op === kind);
      return [
        ...failures,
        ...refused.map((op) => ({ index: 0, op, error: { code: "EIO", message: `${kind} (EIO)` } })),
      ];
    };
  };
  refuse("neighbor.replace");
  const { Address } = await hand.call("RequestAddress", { PoolID: "both/4", Address: "" });
  const ids = { NetworkID: both, EndpointID: engineId("e") };
  await hand.call("CreateEndpoint", { ...ids, Interface: { Address } });
  await assert.rejects(hand.call("Join", { ...ids, SandboxKey: "/run/docker/netns/e" }), /neighbor\.replace/);
  rig.kernel.apply = apply;
  assert.equal(await rig.dump(), before);
  assert.deepEqual(rig.service.leases(), [], "its addresses are given back with it");
  await hand.start("web", both);
  refuse("nft.elements.add");
  const { endpointId } = hand.containers.get("web") ?? assert.fail("it runs");
  const port = { Proto: 6, Port: 80, HostPort: 8080, HostPortEnd: 8080 };
  const Options = { "com.docker.network.portmap": [port] };
  await assert.rejects(
    hand.call("ProgramExternalConnectivity", { EndpointID: endpointId, Options }),
    /nft\.elements\.add/,
  );
  rig.kernel.apply = apply;
  assert.equal(rig.service.attachments()[0]?.ports, undefined, "the port is nobody's");
});

test("what ends is always a success, known or not", async () => {
  const { hand } = await open();
  const ids = { NetworkID: engineId("n"), EndpointID: engineId("e") };
  for (const method of ["RevokeExternalConnectivity", "Leave", "DeleteEndpoint", "DeleteNetwork"])
    assert.deepEqual(await hand.call(method, ids), {}, method);
  assert.deepEqual(await hand.call("ReleasePool", { PoolID: "both/4" }), {});
  assert.deepEqual(await hand.call("ReleaseAddress", { PoolID: "both/4", Address: "169.254.1.1" }), {});
});

test("a call ends in time, whatever holds it up, and what it made meanwhile goes with the next one", async () => {
  const { rig, hand } = await open();
  const both = await hand.network("both");
  const { Address } = await hand.call("RequestAddress", { PoolID: "both/4", Address: "" });
  const ids = { NetworkID: both, EndpointID: engineId("slow") };
  await hand.call("CreateEndpoint", { ...ids, Interface: { Address } });
  const apply = rig.kernel.apply.bind(rig.kernel);
  const held = Promise.withResolvers<void>();
  rig.kernel.apply = async (ops) => {
    await held.promise;
    return apply(ops);
  };
  const joining = hand.call("Join", { ...ids, SandboxKey: "/run/docker/netns/slow" });
  await new Promise((resolve) => setImmediate(resolve));
  rig.clock.advance(ENGINE_CALL_MAX_MS);
  await assert.rejects(joining, /did not finish within 10 s/);
  const ending = hand.call("DeleteEndpoint", ids);
  held.resolve();
  assert.deepEqual(await ending, {});
  assert.deepEqual(rig.service.leases(), []);
  assert.doesNotMatch(await rig.dump(), /wd[0-9a-f]{10}/);
});

test("a container is told only when Docker has made its inside, and is looked after until then, for a while", async () => {
  const { rig, hand } = await open();
  const both = await hand.network("both");
  const { Address } = await hand.call("RequestAddress", { PoolID: "both/4", Address: "" });
  const ids = { NetworkID: both, EndpointID: engineId("e") };
  await hand.call("CreateEndpoint", { ...ids, Interface: { Address } });
  const sandbox = "/run/docker/netns/e";
  const { InterfaceName } = await hand.call("Join", { ...ids, SandboxKey: sandbox });
  await rig.newNetns(sandbox);
  rig.machine.giveLink(InterfaceName.SrcName, sandbox, "eth3");
  const asked = rig.passesAsked;
  await pass(rig);
  assert.equal(rig.service.attachments()[0]?.docker?.ifname, undefined);
  assert.equal(rig.passesAsked, asked + 1, "soon again");
  rig.clock.advance(20_000);
  await pass(rig);
  assert.equal(rig.passesAsked, asked + 1, "an engine that died over it is waited for, and not asked for all the time");
  const inside = await rig.kernel.enter(sandbox);
  await inside.apply([
    { op: "link.set", name: "eth3", up: true },
    { op: "address.replace", address: { dev: "eth3", address: ipInterface(Address) } },
  ]);
  await pass(rig);
  assert.equal(rig.service.attachments()[0]?.docker?.ifname, "eth3");
  assert.match(await rig.dump(sandbox), /lookup 874/);
});

test("the names that the engine's lists tell are the lease's", async () => {
  const { rig, hand } = await open();
  const { endpointId } = await hand.start("web", await hand.network("both"));
  const task = {
    ...{
      framework: "docker",
      name: "web",
      runtime: "docker",
      containerId: "c0ffee",
      labels: { tier: "front" },
      ports: [],
    },
    networks: [{ network: "both", addresses: [], endpointId }],
  };
  rig.service.docker.runs([task]);
  const [lease] = rig.service.leases();
  assert.deepEqual([lease?.name, lease?.labels, lease?.docker?.containerId], ["web", { tier: "front" }, "c0ffee"]);
  assert.ok(lease !== undefined && isAttachment(lease));
});

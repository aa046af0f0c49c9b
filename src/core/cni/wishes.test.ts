import assert from "node:assert/strict";
import { test } from "node:test";
import { cniBody } from "../../../test/support/cni.ts";
import { Fault } from "../../model/fault.ts";
import { ip } from "../../model/ip.ts";
import { ALIASES_MAX, CNI_PROBLEMS_SHOWN_MAX, PORT_MAPPINGS_MAX } from "../../model/limits.ts";
import { mac } from "../../model/mac.ts";
import type { Task, Wishes } from "../../model/wishes.ts";
import { decodeCall } from "./call.ts";

const ID = "0123456789abcdef0123456789abcdef";
const SHORT_ID = ID.slice(0, 12);

function decode(config: object, args?: string) {
  const environment = {
    CNI_COMMAND: "ADD",
    CNI_CONTAINERID: ID,
    CNI_IFNAME: "eth0",
    CNI_NETNS: "/run/netns/c1",
    CNI_ARGS: args,
  };
  return decodeCall(cniBody(environment, { cniVersion: "1.1.0", name: "dcos", ...config })).call;
}

function add(config: object, args?: string): { readonly wishes: Wishes; readonly task: Task; readonly dns: unknown } {
  const call = decode(config, args);
  assert(!(call instanceof Fault) && call.command === "ADD", call instanceof Fault ? call.message : "ADD");
  return { wishes: call.wishes, task: call.task, dns: call.config.dns };
}

function refusal(config: object, args?: string): Fault {
  const call = decode(config, args);
  assert(call instanceof Fault, `refused, not ${JSON.stringify(call)}`);
  return call;
}

const runtimeConfig = (wishes: object) => ({ runtimeConfig: wishes });
const mesosInfo = (networkInfo: unknown) => ({ args: { "org.apache.mesos": { network_info: networkInfo } } });

test("nothing is asked for", () => {
  const nothing = { ips: [], ports: [], aliases: [] };
  for (const config of [
    {},
    { runtimeConfig: null, args: null },
    runtimeConfig({ portMappings: null, ips: [], mac: "", dns: {}, bandwidth: null, aliases: {}, cgroupPath: "/x" }),
    runtimeConfig({ bandwidth: { ingressRate: 0, ingressBurst: 0, egressRate: 0, egressBurst: 0 } }),
    { args: { cni: { labels: [] }, other: 1 } },
    mesosInfo({ ip_addresses: [{}, { protocol: "IPv4" }], groups: [], labels: {}, port_mappings: [] }),
  ])
    assert.deepEqual(add(config, "IgnoreUnknown=1;IP=").wishes, nothing);
});

test("addresses, with or without a length, one of each family", () => {
  const table: [object, string | undefined, string[]][] = [
    [runtimeConfig({ ips: ["9.0.1.5"] }), undefined, ["9.0.1.5"]],
    [runtimeConfig({ ips: ["fd01:B::5/64", "9.0.1.5/24"] }), undefined, ["9.0.1.5", "fd01:b::5"]],
    [runtimeConfig({ ips: ["9.0.1.5", "9.0.1.5/32"] }), undefined, ["9.0.1.5"]],
    [{ args: { cni: { ips: ["9.0.1.6"] } } }, undefined, ["9.0.1.6"]],
    [mesosInfo({ ip_addresses: [{ protocol: "IPv6", ip_address: "fd01:b::7" }] }), undefined, ["fd01:b::7"]],
    [{}, "IP=9.0.1.8", ["9.0.1.8"]],
    [{}, "IgnoreUnknown=1;IP=9.0.1.8/24,fd01:b::8", ["9.0.1.8", "fd01:b::8"]],
  ];
  for (const [config, args, expected] of table) assert.deepEqual(add(config, args).wishes.ips, expected);
});

test("of several places that say something the first in rank counts alone", () => {
  const all = {
    ...runtimeConfig({ ips: ["9.0.1.1"], mac: "02:00:00:00:00:01" }),
    args: {
      cni: { ips: ["9.0.1.2", "fd01:b::2"], mac: "02:00:00:00:00:02" },
      "org.apache.mesos": { network_info: { ip_addresses: [{ ip_address: "9.0.1.3" }] } },
    },
  };
  const { cni, ...mesos } = all.args;
  const args = "IP=9.0.1.4;MAC=02:00:00:00:00:04";
  const ask = (config: object) => {
    const { ips, mac: asked } = add(config, args).wishes;
    return [ips, asked];
  };
  assert.deepEqual(ask(all), [["9.0.1.1"], "02:00:00:00:00:01"]);
  assert.deepEqual(ask({ args: all.args }), [["9.0.1.2", "fd01:b::2"], "02:00:00:00:00:02"]);
  assert.deepEqual(ask({ args: mesos }), [["9.0.1.3"], "02:00:00:00:00:04"]);
  assert.deepEqual(ask({}), [["9.0.1.4"], "02:00:00:00:00:04"]);
});

test("host ports", () => {
  const convention = runtimeConfig({
    portMappings: [
      { hostPort: 8080, containerPort: 80, protocol: "tcp", hostIP: "" },
      { hostPort: 8080, containerPort: 80 },
      { hostPort: 53, containerPort: 53, protocol: "UDP", hostIP: "127.0.0.1" },
      { hostPort: 0, containerPort: 81 },
      { containerPort: 82, protocol: "tcp" },
      { hostPort: 8080, containerPort: 81, hostIP: "2001:db8::1" },
      { hostPort: 65535, containerPort: 1, hostIP: "0.0.0.0" },
    ],
  });
  const mesos = mesosInfo({ port_mappings: [{ host_port: 31000, container_port: 80, protocol: "TCP" }] });
  assert.deepEqual(add(convention).wishes.ports, [
    { protocol: "tcp", hostPort: 8080, containerPort: 80 },
    { protocol: "udp", hostPort: 53, containerPort: 53, hostIp: ip("127.0.0.1") },
    { protocol: "tcp", hostPort: 8080, containerPort: 81, hostIp: ip("2001:db8::1") },
    { protocol: "tcp", hostPort: 65535, containerPort: 1, hostIp: ip("0.0.0.0") },
  ]);
  assert.deepEqual(add(mesos).wishes.ports, [{ protocol: "tcp", hostPort: 31000, containerPort: 80 }]);
  assert.equal(add({ ...convention, ...mesos }).wishes.ports.length, 4, "Mesos' are not added");
  const many = Array.from({ length: PORT_MAPPINGS_MAX }, (_, i) => ({ hostPort: 1 + i, containerPort: 1 + i }));
  assert.equal(add(runtimeConfig({ portMappings: many })).wishes.ports.length, PORT_MAPPINGS_MAX);
});

test("a bandwidth has a burst, whoever named it", () => {
  const bandwidth = (limits: object) => add(runtimeConfig({ bandwidth: limits })).wishes.bandwidth;
  assert.deepEqual(bandwidth({ ingressRate: 1e6, ingressBurst: 2e6 }), { ingressRate: 1e6, ingressBurst: 2e6 });
  assert.deepEqual(bandwidth({ egressRate: 1e6, ingressRate: 0 }), { egressRate: 1e6, egressBurst: 1_048_576 });
  assert.deepEqual(bandwidth({ egressRate: 1e9 }), { egressRate: 1e9, egressBurst: 50_000_000 });
  assert.deepEqual(bandwidth({ egressRate: 1e11 }), { egressRate: 1e11, egressBurst: 5_000_000_000 });
});

test("aliases of this network, by any name of it", () => {
  const names = (aliases: object, config: object = {}) => add({ ...config, runtimeConfig: { aliases } }).wishes.aliases;
  assert.deepEqual(names({ dcos: ["Web", "web", SHORT_ID, "a.b-c_d"], other: [7] }), ["web", SHORT_ID, "a.b-c_d"]);
  assert.deepEqual(names({ mine: ["one"], dcos: ["two"] }, { name: "mine", network: "dcos" }), ["one", "two"]);
});

test("the resolver of the result: the runtime's lists in place of the configuration's", () => {
  const dns = { nameservers: ["192.0.2.1"], domain: "d", search: ["s"], options: ["ndots:1"], mine: 1 };
  assert.deepEqual(add({ dns }).dns, { nameservers: ["192.0.2.1"], domain: "d", search: ["s"], options: ["ndots:1"] });
  const wanted = { servers: ["2001:db8::53"], searches: ["a", "b"], options: [] };
  assert.deepEqual(add({ dns, ...runtimeConfig({ dns: wanted }) }).dns, {
    nameservers: ["2001:db8::53"],
    domain: "d",
    search: ["a", "b"],
    options: ["ndots:1"],
  });
  assert.deepEqual(add(runtimeConfig({ dns: { servers: ["192.0.2.9"] } })).dns, { nameservers: ["192.0.2.9"] });
  assert.deepEqual(add({ dns: { nameservers: null } }).dns, {});
});

test("the task: what people call it, and everything else as labels", () => {
  const k8s =
    "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=abc;K8S_POD_UID=u=1";
  assert.deepEqual(add({}, k8s).task, {
    name: "web-0",
    labels: {
      K8S_POD_NAMESPACE: "shop",
      K8S_POD_NAME: "web-0",
      K8S_POD_INFRA_CONTAINER_ID: "abc",
      K8S_POD_UID: "u=1",
    },
  });
  const nomad = "IgnoreUnknown=true;NOMAD_REGION=eu;NOMAD_GROUP_NAME=cache;NOMAD_JOB_ID=redis";
  assert.equal(add({}, nomad).task.name, "cache");
  assert.equal(add({}, `${nomad};K8S_POD_NAME=web`).task.name, "web");
  const aliases = { runtimeConfig: { aliases: { dcos: [SHORT_ID, "deadbeef0123", "web"] } } };
  assert.equal(add(aliases).task.name, "deadbeef0123", "twelve hexadecimal digits of something else are a name");
  assert.equal(add(aliases, "K8S_POD_NAME=;").task.name, "deadbeef0123");
  assert.equal(add({ runtimeConfig: { aliases: { dcos: [SHORT_ID] } } }).task.name, undefined);
});

test("labels of one key: args.cni, else Mesos, else CNI_ARGS", () => {
  const args = {
    cni: { labels: [{ key: "a", value: "cni" }, { key: "empty" }] },
    "org.apache.mesos": {
      network_info: {
        labels: {
          labels: [
            { key: "a", value: "mesos" },
            { key: "b", value: "mesos" },
            { key: "__proto__", value: "own" },
          ],
        },
      },
    },
  };
  const { labels } = add({ args }, "a=args;b=args;c=args;c=later;MAC=02:00:00:00:00:01").task;
  assert.deepEqual(Object.entries(labels).sort(), [
    ["__proto__", "own"],
    ["a", "cni"],
    ["b", "mesos"],
    ["c", "later"],
    ["empty", ""],
  ]);
});

test("what is wrong is refused with its path", () => {
  const port = (mapping: unknown) => runtimeConfig({ portMappings: [mapping] });
  const bandwidth = (limits: unknown) => runtimeConfig({ bandwidth: limits });
  const ok = { hostPort: 8080, containerPort: 80 };
  const table: [object, RegExp][] = [
    [{ runtimeConfig: [] }, /: runtimeConfig: must be an object, is a list$/],
    [{ args: 1 }, /: args: must be an object/],
    [{ args: { cni: [] } }, /: args\.cni: must be an object/],
    [runtimeConfig({ ips: "9.0.1.2" }), /: runtimeConfig\.ips: must be a list/],
    [runtimeConfig({ ips: ["9.0.1.2", 5] }), /: runtimeConfig\.ips\[1\]: must be an IP address, is the number 5/],
    [runtimeConfig({ ips: ["9.0.1.2", "9.0.1.3"] }), /ips\[1\]: 9\.0\.1\.3 is a second IPv4 address/],
    [{ args: { cni: { ips: ["9.0.1.256"] } } }, /: args\.cni\.ips\[0\]: must be an IP address/],
    [mesosInfo([]), /: args\."org\.apache\.mesos"\.network_info: must be an object/],
    [mesosInfo({ ip_addresses: [null] }), /network_info\.ip_addresses\[0\]: must be an object, is null/],
    [mesosInfo({ ip_addresses: [{ ip_address: "x" }] }), /ip_addresses\[0\]\.ip_address: must be an IP address/],
    [mesosInfo({ port_mappings: [{ host_port: 1 }] }), /port_mappings\[0\]\.container_port: is missing/],
    [mesosInfo({ labels: [] }), /network_info\.labels: must be an object/],
    [mesosInfo({ labels: { labels: [{ value: "x" }] } }), /labels\.labels\[0\]\.key: is missing/],
    [{ args: { cni: { labels: [{ key: 1, value: "x" }] } } }, /labels\[0\]\.key: must be a string, is the number 1$/],
    [{ args: { cni: { labels: [{ key: "a", value: "x\u001b[2J" }] } } }, /labels\[0\]: has a control character/],
    [runtimeConfig({ mac: "02-00-00-00-00-01" }), /: runtimeConfig\.mac: must be a MAC address/],
    [runtimeConfig({ mac: "01:00:5e:00:00:01" }), /: runtimeConfig\.mac: .* is a group's address/],
    [runtimeConfig({ mac: "00:00:00:00:00:00" }), /: runtimeConfig\.mac: .* is no device's address/],
    [port(null), /: runtimeConfig\.portMappings\[0\]: must be an object, is null/],
    [port({ ...ok, protocol: "sctp" }), /portMappings\[0\]\.protocol: must be tcp or udp, is the string "sctp"/],
    [port({ ...ok, hostPort: 65_536 }), /portMappings\[0\]\.hostPort: must be a whole number from 0 to 65535/],
    [port({ ...ok, hostPort: "80" }), /portMappings\[0\]\.hostPort: .* is the string "80"/],
    [port({ ...ok, containerPort: 0 }), /portMappings\[0\]\.containerPort: must be a whole number from 1/],
    [port({ hostPort: 1 }), /portMappings\[0\]\.containerPort: is missing/],
    [port({ ...ok, hostIP: "::1" }), /portMappings\[0\]\.hostIP: ::1 cannot be led to a container/],
    [port({ ...ok, hostIP: "localhost" }), /hostIP: must be an IP address/],
    [port({ ...ok, hostIP: "224.0.0.1" }), /hostIP: 224\.0\.0\.1 is no address that a host can have/],
    [port({ ...ok, hostIP: "ff02::1" }), /hostIP: ff02::1 is no address/],
    [
      runtimeConfig({ portMappings: [ok, { hostPort: 8080, containerPort: 81 }] }),
      /portMappings\[1\]: leads tcp port 8080 of the host to port 81, an earlier one to 80/,
    ],
    [
      runtimeConfig({ portMappings: new Array(PORT_MAPPINGS_MAX + 1).fill(ok) }),
      /portMappings: has 4097 entries, one container may have 4096/,
    ],
    [bandwidth([]), /runtimeConfig\.bandwidth: must be an object/],
    [bandwidth({ ingressBurst: 1e6 }), /bandwidth\.ingressBurst: needs ingressRate beside it/],
    [bandwidth({ egressRate: 999 }), /bandwidth\.egressRate: must be a whole number from 1000/],
    [bandwidth({ egressRate: 1e6, egressBurst: 100 }), /bandwidth\.egressBurst: must be a whole number from 16000/],
    [bandwidth({ ingressRate: -1 }), /bandwidth\.ingressRate: must be/],
    [bandwidth({ ingressRate: 1e6 + 0.5 }), /bandwidth\.ingressRate: must be/],
    [runtimeConfig({ dns: { servers: ["ns.example"] } }), /runtimeConfig\.dns\.servers\[0\]: must be an IP address/],
    [runtimeConfig({ dns: { searches: [1] } }), /runtimeConfig\.dns\.searches\[0\]: must be a string/],
    [{ dns: { nameservers: ["x"] } }, /: dns\.nameservers\[0\]: must be an IP address/],
    [runtimeConfig({ aliases: ["web"] }), /runtimeConfig\.aliases: must be an object/],
    [runtimeConfig({ aliases: { dcos: ["-web"] } }), /runtimeConfig\.aliases\."dcos"\[0\]: "-web" is no host name/],
    [runtimeConfig({ aliases: { dcos: [""] } }), /aliases\."dcos"\[0\]: "" is empty/],
    [runtimeConfig({ aliases: { dcos: ["a".repeat(64)] } }), /has a label of more than 63 bytes/],
    [runtimeConfig({ aliases: { dcos: ["a.".repeat(127)] } }), /has 254 bytes, a host name has at most 253/],
    [
      runtimeConfig({ aliases: { dcos: Array.from({ length: ALIASES_MAX + 1 }, (_, i) => `a${i}`) } }),
      /aliases: has 65 names, one container may have 64/,
    ],
  ];
  for (const [config, message] of table) {
    const fault = refusal(config);
    assert.equal(fault.code, "bad-request");
    assert.match(fault.message, message);
  }
  assert.deepEqual(add(port({ ...ok, hostIP: "::ffff" })).wishes.ports[0]?.hostIp, ip("::ffff"), "a control");
  assert.equal(add(runtimeConfig({ mac: "02:AB:00:00:00:01" })).wishes.mac, mac("02:ab:00:00:00:01"), "a control");
});

test("what is wrong in CNI_ARGS is refused", () => {
  const table: [string, RegExp][] = [
    ["IgnoreUnknown=1;nonsense", /CNI_ARGS: "nonsense" is no KEY=VALUE/],
    ["=x", /CNI_ARGS: "=x" is no KEY=VALUE/],
    ["IP=9.0.1", /CNI_ARGS: IP: must be an IP address, is the string "9\.0\.1"/],
    ["MAC=x", /CNI_ARGS: MAC: must be a MAC address/],
    [`K=${"v".repeat(1_025)}`, /CNI_ARGS: K: the value has 1025 bytes, at most 1024/],
    [`${"k".repeat(257)}=v`, /the key has 257 bytes, at most 256/],
    ["K=a\nb", /CNI_ARGS: K: has a control character/],
    [`K8S_POD_NAME=${"n".repeat(254)}`, /the container's name has 254 bytes, at most 253/],
    [Array.from({ length: 65 }, (_, i) => `K${i}=v`).join(";"), /has 65 labels, one container may have 64/],
  ];
  for (const [args, message] of table) assert.match(refusal({}, args).message, message);
  assert.equal(refusal({}, "nonsense").code, "bad-environment");
});

test("everything that is wrong with a call is said at once, up to a bound", () => {
  const { message, facts, code } = refusal(
    { network: "a/b", ...runtimeConfig({ ips: ["x"], portMappings: [{ containerPort: "x" }] }) },
    "nonsense",
  );
  assert.equal(code, "bad-environment");
  assert.match(message, /^CNI_ARGS: .*; the network configuration cannot be used: network: .*; .*ips\[0\].*; .*Port: /);
  assert.equal((facts.problems as readonly string[]).length, 4);
  const noise = refusal(runtimeConfig({ ips: new Array(10_000).fill("x") }));
  assert.match(noise.message, new RegExp(`; and ${10_000 - CNI_PROBLEMS_SHOWN_MAX} more$`));
  assert.equal((noise.facts.problems as readonly string[]).length, CNI_PROBLEMS_SHOWN_MAX);
});

test("containerd's spelling: Go's own names of the fields", () => {
  const { wishes, dns } = add(
    runtimeConfig({
      portMappings: [{ HostPort: 8080, ContainerPort: 80, Protocol: "udp", HostIP: "10.0.0.11" }],
      bandwidth: { IngressRate: 1e6, IngressBurst: 2e6, EgressRate: 0, EgressBurst: 0 },
      dns: { Servers: ["192.0.2.1"], Searches: ["a"], Options: null },
    }),
  );
  assert.deepEqual(wishes.ports, [{ protocol: "udp", hostPort: 8080, containerPort: 80, hostIp: ip("10.0.0.11") }]);
  assert.deepEqual(wishes.bandwidth, { ingressRate: 1e6, ingressBurst: 2e6 });
  assert.deepEqual(dns, { nameservers: ["192.0.2.1"], search: ["a"] });
});

/**
 * Noise of all kinds against the decoder. What comes out is a call that keeps every promise of its type, or a refusal
 * with a code and a version that the caller can read, whatever came in.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { cniBody } from "../../../test/support/cni.ts";
import { Fault } from "../../model/fault.ts";
import { FAULT_TABLE } from "../../model/fault-table.ts";
import { familyOf, parseIp } from "../../model/ip.ts";
import { ALIASES_MAX, LABELS_MAX, PORT_MAPPINGS_MAX } from "../../model/limits.ts";
import { parseMac } from "../../model/mac.ts";
import { hostNameProblem, networkNameProblem } from "../../model/names.ts";
import { type CniCall, type DecodedCall, decodeCall } from "./call.ts";
import { errorReply } from "./reply.ts";
import { CNI_COMMANDS, CNI_VERSIONS } from "./version.ts";

/** Codes of the specification for a call that is wrong in itself. */
const CALL_CODES = [1, 4, 6, 7];
/** Longest refusal: runtimes print it on one line, and the executable passes on a bounded answer. */
const REFUSAL_MAX_BYTES = 32 << 10;

type AddCall = Extract<CniCall, { command: "ADD" }>;

function judge(decoded: DecodedCall): void {
  const { version, command, call } = decoded;
  assert((CNI_VERSIONS as readonly string[]).includes(version));
  if (call instanceof Fault) {
    assert(CALL_CODES.includes(FAULT_TABLE[call.code].cni), call.code);
    const { body } = errorReply(version, command, call);
    assert(body.length < REFUSAL_MAX_BYTES, `${body.length} bytes`);
    const { code, msg, cniVersion } = JSON.parse(body);
    assert(CALL_CODES.includes(code) && msg !== "" && cniVersion === version);
  } else {
    assert.equal(call.command, command);
    if (call.command !== "VERSION" && call.command !== "DEL")
      assert.equal(networkNameProblem(call.config.network), undefined);
    if (call.command === "ADD") judgeAdd(call);
  }
}

function judgeAdd({ wishes, task, netns, containerId, ifname }: AddCall): void {
  assert(netns.startsWith("/") && containerId !== "" && ifname !== "");
  const families = wishes.ips.map((address) => {
    assert.equal(parseIp(address), address);
    return familyOf(address);
  });
  assert.deepEqual(families, [...new Set(families)].sort());
  if (wishes.mac !== undefined) assert(parseMac(wishes.mac) === wishes.mac && /^.[02468ace]:/.test(wishes.mac));
  assert(wishes.ports.length <= PORT_MAPPINGS_MAX && wishes.aliases.length <= ALIASES_MAX);
  for (const { hostPort, containerPort, protocol } of wishes.ports) {
    for (const port of [hostPort, containerPort]) assert(Number.isInteger(port) && port > 0 && port < 65_536);
    assert(protocol === "tcp" || protocol === "udp");
  }
  const places = wishes.ports.map(({ hostPort, hostIp, protocol }) => `${protocol} ${hostIp} ${hostPort}`);
  assert.equal(new Set(places).size, places.length, "one host port leads to one port");
  for (const alias of wishes.aliases) assert.equal(hostNameProblem(alias), undefined);
  const { ingressRate, ingressBurst, egressRate, egressBurst } = wishes.bandwidth ?? {};
  assert.deepEqual([ingressRate === undefined, egressRate === undefined], [!ingressBurst, !egressBurst]);
  assert(Object.keys(task.labels).length <= LABELS_MAX);
  assert(Object.values(task.labels).every((value) => typeof value === "string"));
}

const SOUND = {
  CNI_COMMAND: "ADD",
  CNI_CONTAINERID: "c1",
  CNI_IFNAME: "eth0",
  CNI_NETNS: "/run/netns/c1",
};

const words = (...texts: string[]) => fc.constantFrom(...texts);
/** Something of the right kind, and now and then anything. */
const or = (sound: fc.Arbitrary<unknown>, ...wrong: unknown[]) =>
  fc.oneof(
    { weight: 60, arbitrary: sound },
    { weight: wrong.length, arbitrary: fc.constantFrom(...wrong, null) },
    { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 2 }) },
  );
const list = (item: fc.Arbitrary<unknown>) => fc.array(item, { maxLength: 3 });
const some = (keys: Record<string, fc.Arbitrary<unknown>>) => fc.record(keys, { requiredKeys: [] });
const address = or(words("9.0.1.2", "9.0.1.2/24", "fd01:b::5"), "9.0.1.3", "::1", "0.0.0.0", "x");
const cidr = or(words("9.0.1.2/32", "fd01:b::/64"), "9.0.1.2");
const mac = or(words("02:00:00:00:00:01", "fe:00:00:00:00:0A", ""), "01:00:00:00:00:01", "00:00:00:00:00:00");
const port = or(fc.integer({ min: 1, max: 65_535 }), 0, -1, 65_536, 80.5);
const pairs = or(list(some({ key: or(words("a", "b", "__proto__"), ""), value: or(words("x", "")) })));
const rate = or(fc.integer({ min: 1_000, max: 1_000_000_000 }), 0, 999, 1e13, 1e6 + 0.5);
const burst = or(fc.integer({ min: 16_000, max: 1_000_000_000 }), 0, 1, 1e13);

const mapping = fc.record(
  {
    hostPort: port,
    containerPort: port,
    protocol: or(words("tcp", "udp"), "sctp"),
    hostIP: or(words("", "127.0.0.1")),
  },
  { requiredKeys: ["containerPort"] },
);
const limits = fc.record(
  { ingressRate: rate, ingressBurst: burst, egressRate: rate, egressBurst: burst },
  { requiredKeys: ["ingressRate", "egressRate"] },
);
const runtimeConfig = some({
  portMappings: or(list(or(mapping))),
  ips: or(list(address)),
  mac,
  dns: or(some({ servers: or(list(or(words("192.0.2.1")))), searches: or(list(words("a"))) })),
  bandwidth: or(limits),
  aliases: or(some({ dcos: or(list(or(words("web", "A.b"), "-"))) })),
});
const networkInfo = some({
  ip_addresses: or(list(or(some({ ip_address: address })))),
  port_mappings: or(list(or(fc.record({ host_port: port, container_port: port })))),
  labels: or(some({ labels: pairs })),
});
const args = some({
  cni: or(some({ ips: or(list(address)), mac, labels: pairs })),
  "org.apache.mesos": or(some({ network_info: or(networkInfo) })),
});
const result = some({
  interfaces: or(list(or(fc.record({ name: or(words("eth0")), sandbox: or(words("/x")) })))),
  ips: or(list(or(fc.record({ address: cidr, gateway: or(words("9.0.1.1")), interface: or(fc.integer()) })))),
  routes: or(list(or(fc.record({ dst: cidr, gw: or(words("9.0.1.1")) })))),
});
const attachments = or(list(or(fc.record({ containerID: or(words("c1")), ifname: or(words("eth0")) }))));
const config = fc.record(
  {
    cniVersion: or(words(...CNI_VERSIONS), "0.2.0"),
    cniVersions: or(list(words(...CNI_VERSIONS))),
    name: or(words("dcos"), "a/b"),
    network: or(words("dcos6"), ""),
    dns: or(some({ nameservers: or(list(or(words("192.0.2.1")))), domain: or(words("d")) })),
    ipam: or(some({ type: or(words("host-local", "weft-ipam", ""), "a/b"), network: or(words("dcos")) })),
    prevResult: or(result),
    runtimeConfig: or(runtimeConfig),
    args: or(args),
    "cni.dev/valid-attachments": attachments,
    "cni.dev/attachments": attachments,
  },
  { requiredKeys: ["cniVersion", "name"] },
);
const cniArgs = or(
  list(words("IP=9.0.1.2", "IP=", "MAC=02:00:00:00:00:01", "K8S_POD_NAME=y", "IgnoreUnknown=1", "")).map((pairs) =>
    pairs.join(";"),
  ),
  "IP=x",
  "=",
).map(String);
const environment = fc.record(
  {
    CNI_COMMAND: words(...CNI_COMMANDS, "ADD", "ADD", "ADD"),
    CNI_ARGS: cniArgs,
    CNI_PATH: fc.string(),
    CNI_WEFT_RUNTIME: fc.string(),
    CNI_WEFT_PLUGIN: words("weft-cni", "weft-ipam"),
  },
  { requiredKeys: ["CNI_COMMAND"] },
);

test("calls that are right in most places", () => {
  let added = 0;
  fc.assert(
    fc.property(environment, config, (variables, stdin) => {
      const decoded = decodeCall(cniBody({ ...SOUND, ...variables }, stdin));
      judge(decoded);
      if (!(decoded.call instanceof Fault) && decoded.call.command === "ADD") added++;
    }),
    { numRuns: 3_000 },
  );
  assert(added > 100, `only ${added} calls got through: the noise is too loud to test what follows from one`);
});

test("any variables, any JSON, any text", () => {
  const variables = fc.dictionary(
    fc.constantFrom("CNI_COMMAND", "CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS", "CNI_ARGS", "CNI_X"),
    fc.oneof(fc.constantFrom("ADD", "CHECK", "VERSION", "/a", "c1"), fc.string({ unit: "binary" })),
  );
  const stdin = fc.oneof(fc.string(), fc.jsonValue());
  fc.assert(
    fc.property(variables, stdin, (lines, text) => judge(decodeCall(cniBody(lines, text)))),
    { numRuns: 1_000 },
  );
});

test("any bytes", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (body) => judge(decodeCall(body))));
});

test("one wrong value, as long as a call may be, is refused shortly", () => {
  const long = "x".repeat(500_000);
  const name = "dcos";
  const configs: unknown[] = [
    long,
    { cniVersion: long, name },
    { cniVersion: "1.1.0", name: long },
    { cniVersion: "1.1.0", name, network: long },
    { cniVersion: "1.1.0", name, ipam: { type: `/${long}` } },
    { cniVersion: "1.1.0", name, runtimeConfig: { aliases: { [name]: [long] }, mac: long, ips: [long] } },
    { cniVersion: "1.1.0", name, args: { cni: { labels: [{ key: long, value: long }] } } },
    { cniVersion: "1.1.0", name, prevResult: { ips: [{ address: long }] } },
  ];
  for (const stdin of configs) {
    const decoded = decodeCall(cniBody(SOUND, stdin));
    assert(decoded.call instanceof Fault);
    judge(decoded);
  }
  for (const variable of ["CNI_COMMAND", "CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS", "CNI_ARGS"]) {
    const decoded = decodeCall(cniBody({ ...SOUND, [variable]: long }, { cniVersion: "1.1.0", name }));
    assert(decoded.call instanceof Fault);
    judge(decoded);
  }
});

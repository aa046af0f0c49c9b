import assert from "node:assert/strict";
import { test } from "node:test";
import { cniBody } from "../../../test/support/cni.ts";
import { Fault, type FaultCode } from "../../model/fault.ts";
import { FAULT_TABLE } from "../../model/fault-table.ts";
import { CNI_CALL_MAX_BYTES, CNI_JSON_DEPTH_MAX } from "../../model/limits.ts";
import { type CniCall, decodeCall } from "./call.ts";

const ENVIRONMENT = {
  CNI_COMMAND: "ADD",
  CNI_CONTAINERID: "c1",
  CNI_IFNAME: "eth0",
  CNI_NETNS: "/run/netns/c1",
  CNI_PATH: "/opt/cni/bin",
};
const CONFIG = { cniVersion: "1.1.0", name: "dcos", type: "weft-cni" };
const PREV_RESULT = {
  cniVersion: "1.1.0",
  interfaces: [
    { name: "weft0123456789", mac: "02:57:00:00:00:01" },
    { name: "eth0", sandbox: "/run/netns/c1" },
  ],
  ips: [{ interface: 1, address: "9.0.1.2/32", gateway: "9.0.1.1" }],
};

type Changes = Readonly<Record<string, string | undefined>>;

function decode(changes: Changes, config: unknown = CONFIG) {
  return decodeCall(cniBody({ ...ENVIRONMENT, ...changes }, config));
}

function refusal(changes: Changes, config: unknown = CONFIG): Fault {
  const { call } = decode(changes, config);
  assert(call instanceof Fault, `refused, not ${JSON.stringify(call)}`);
  return call;
}

test("every verb becomes a value", () => {
  const gc = { ...CONFIG, "cni.dev/valid-attachments": [{ containerID: "c1", ifname: "eth0" }] };
  const config = { cniVersion: "1.1.0", name: "dcos", network: "dcos", dns: {}, json: CONFIG } as const;
  const plugin = { config, plugin: "weft-cni", cniPath: ["/opt/cni/bin"] } as const;
  const container = { ...plugin, containerId: "c1", ifname: "eth0", requestId: "", runtime: "", args: "" };
  const wanted = { wishes: { ips: [], ports: [], aliases: [] }, task: { labels: {} } };
  const netns = "/run/netns/c1";
  const calls: [Changes, unknown, CniCall][] = [
    [{}, CONFIG, { command: "ADD", ...container, netns, ...wanted }],
    [{ CNI_COMMAND: "DEL" }, CONFIG, { command: "DEL", ...container, netns }],
    [{ CNI_COMMAND: "DEL", CNI_NETNS: "" }, CONFIG, { command: "DEL", ...container }],
    [{ CNI_COMMAND: "STATUS", CNI_CONTAINERID: undefined }, CONFIG, { command: "STATUS", ...plugin }],
    [
      { CNI_COMMAND: "GC", CNI_WEFT_RUNTIME: "podman" },
      gc,
      {
        command: "GC",
        ...plugin,
        config: { ...config, json: gc },
        runtime: "podman",
        valid: [{ containerId: "c1", ifname: "eth0" }],
      },
    ],
    [{ CNI_COMMAND: "VERSION" }, { cniVersion: "0.2.0" }, { command: "VERSION", asked: "0.2.0" }],
    [{ CNI_COMMAND: "VERSION" }, "not JSON", { command: "VERSION", asked: "1.1.0" }],
    [{ CNI_COMMAND: "VERSION" }, { cniVersion: "1\n" }, { command: "VERSION", asked: "1.1.0" }],
  ];
  for (const [changes, stdin, expected] of calls) assert.deepEqual(decode(changes, stdin).call, expected);
});

test("CHECK carries what the runtime remembers of ADD", () => {
  const { call } = decode({ CNI_COMMAND: "CHECK" }, { ...CONFIG, prevResult: PREV_RESULT });
  assert(!(call instanceof Fault) && call.command === "CHECK");
  assert.deepEqual(call.config.prevResult, {
    json: PREV_RESULT,
    interfaces: [
      { name: "weft0123456789", sandbox: "" },
      { name: "eth0", sandbox: "/run/netns/c1" },
    ],
    ips: [{ interface: 1, address: "9.0.1.2/32" }],
  });
});

test("the key network wins over the configuration's name, unknown keys are other people's", () => {
  const { call } = decode(
    {},
    { ...CONFIG, name: "my list", network: "dcos6", ipMasq: 7, dns: { domain: "x", mine: 1 } },
  );
  assert(!(call instanceof Fault) && call.command === "ADD");
  const { network, name, dns } = call.config;
  assert.deepEqual({ network, name, dns }, { network: "dcos6", name: "my list", dns: { domain: "x" } });
});

test("of two lines for one variable the first counts", () => {
  const { call } = decodeCall(Buffer.from(`CNI_COMMAND=VERSION\0CNI_COMMAND=ADD\0=x\0noequals\0\0{}`));
  assert.deepEqual(call, { command: "VERSION", asked: "1.1.0" });
});

test("what is wrong in the environment has code 4 and is named", () => {
  const table: [Changes, RegExp][] = [
    [{ CNI_COMMAND: undefined }, /CNI_COMMAND is missing; it is one of ADD, DEL/],
    [{ CNI_COMMAND: "add" }, /CNI_COMMAND=add is no verb/],
    [{ CNI_CONTAINERID: undefined, CNI_NETNS: "" }, /^CNI_CONTAINERID is missing; CNI_NETNS is missing$/],
    [{ CNI_CONTAINERID: "../c1" }, /CNI_CONTAINERID=\.\.\/c1 may hold only/],
    [{ CNI_CONTAINERID: "-c" }, /begins with a letter or digit/],
    [{ CNI_CONTAINERID: "c\n1" }, /may hold only/],
    [{ CNI_CONTAINERID: "c".repeat(201) }, /has 201 bytes, at most 200/],
    [{ CNI_IFNAME: "e".repeat(16) }, /has 16 bytes, a device's name has at most 15/],
    [{ CNI_IFNAME: "ä".repeat(8) }, /has 16 bytes/],
    [{ CNI_IFNAME: "eth/0" }, /CNI_IFNAME=eth\/0 may hold only/],
    [{ CNI_IFNAME: "eth:0" }, /may hold only/],
    [{ CNI_IFNAME: "eth 0" }, /may hold only/],
    [{ CNI_IFNAME: "eth%d" }, /may hold only/],
    [{ CNI_IFNAME: ".." }, /is no name for a device/],
    [{ CNI_IFNAME: "default" }, /is no name for a device/],
    [{ CNI_NETNS: "netns" }, /CNI_NETNS=netns is no absolute path/],
    [{ CNI_NETNS: `/${"n".repeat(4096)}` }, /has 4097 bytes/],
  ];
  for (const [changes, message] of table) {
    const fault = refusal(changes);
    assert.equal(FAULT_TABLE[fault.code].cni, 4, fault.message);
    assert.match(fault.message, message);
  }
});

test("what is wrong in the configuration is named with its path, all at once", () => {
  const table: [unknown, FaultCode, RegExp][] = [
    ["", "undecodable", /is no JSON/],
    ["{", "undecodable", /is no JSON/],
    ["[]", "undecodable", /must be a JSON object/],
    ["null", "undecodable", /must be a JSON object/],
    [{ name: "dcos" }, "unsupported-version", /names no cniVersion; this plugin speaks 0\.3\.0, 0\.3\.1/],
    [{ ...CONFIG, cniVersion: "0.2.0" }, "unsupported-version", /cniVersion "0\.2\.0"/],
    [{ ...CONFIG, cniVersion: "1.2.0" }, "unsupported-version", /cniVersion "1\.2\.0"/],
    [{ ...CONFIG, cniVersion: 1 }, "unsupported-version", /cniVersion 1/],
    [{ cniVersion: "1.0.0" }, "bad-request", /name: is missing/],
    [{ ...CONFIG, name: 5 }, "bad-request", /name: must be a string, is the number 5/],
    [{ ...CONFIG, network: ["x"] }, "bad-request", /network: must be a string, is a list/],
    [{ ...CONFIG, network: "a/b" }, "bad-request", /network: a\/b may hold only/],
    [{ ...CONFIG, name: "fourteen-bytes" }, "bad-request", /name: fourteen-bytes has 14 bytes/],
    [
      { ...CONFIG, dns: [], prevResult: 1 },
      "bad-request",
      /dns: must be an object, is a list; prevResult: must be an object/,
    ],
    [{ ...CONFIG, dns: { nameservers: "x", search: [1] } }, "bad-request", /dns\.nameservers: .*; dns\.search\[0\]: /],
    [
      { ...CONFIG, prevResult: { ips: [{ address: "9.0.1.2" }] } },
      "bad-request",
      /prevResult\.ips\[0\]\.address: must be/,
    ],
    [{ ...CONFIG, prevResult: { interfaces: {} } }, "bad-request", /prevResult\.interfaces: must be a list/],
  ];
  for (const [config, code, message] of table) {
    const fault = refusal({}, config);
    assert.equal(fault.code, code, fault.message);
    assert.match(fault.message, message);
  }
});

test("a verb that the configuration's version does not have is refused", () => {
  const table: [string, string][] = [
    ["CHECK", "0.3.1"],
    ["STATUS", "1.0.0"],
    ["GC", "1.0.0"],
  ];
  for (const [verb, version] of table)
    assert.equal(refusal({ CNI_COMMAND: verb }, { ...CONFIG, cniVersion: version }).code, "unsupported-version");
});

test("CHECK without prevResult is refused", () => {
  assert.match(refusal({ CNI_COMMAND: "CHECK" }).message, /prevResult: is missing/);
});

test("a refused call is answered in its own version, where that is one", () => {
  assert.equal(decode({ CNI_IFNAME: "" }, { ...CONFIG, cniVersion: "0.4.0" }).version, "0.4.0");
  assert.equal(decode({}, { ...CONFIG, cniVersion: "9.9.9" }).version, "1.1.0");
});

test("a body that is no call is refused", () => {
  for (const body of ["", "CNI_COMMAND=ADD", "CNI_COMMAND=ADD\0", "x".repeat(CNI_CALL_MAX_BYTES + 1)]) {
    const { call } = decodeCall(Buffer.from(body));
    assert(call instanceof Fault && call.code === "bad-request", body.slice(0, 40));
  }
});

test("a configuration that is nested too deep is refused, not died of; VERSION is answered", () => {
  const nested = (levels: number) => "[".repeat(levels) + "]".repeat(levels);
  const config = (key: string, value: string) => `{"cniVersion":"1.1.0","name":"dcos",${JSON.stringify(key)}:${value}}`;
  assert(!(decode({}, config("x", nested(CNI_JSON_DEPTH_MAX - 1))).call instanceof Fault));
  for (const key of ["x", "cniVersion", "prevResult"]) {
    const text = config(key, nested(20_000));
    assert.equal(refusal({}, text).code, "undecodable");
    assert(!(decode({ CNI_COMMAND: "VERSION" }, text).call instanceof Fault));
  }
});

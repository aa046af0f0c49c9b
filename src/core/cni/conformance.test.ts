/**
 * The specification as a table: every verb in every version, and every error code that it numbers.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { cniBody } from "../../../test/support/cni.ts";
import { Fault, type FaultCode } from "../../model/fault.ts";
import { FAULT_TABLE } from "../../model/fault-table.ts";
import { decodeCall } from "./call.ts";
import { errorReply } from "./reply.ts";
import { CNI_COMMANDS, CNI_VERSIONS, type CniCommand } from "./version.ts";

const ENVIRONMENT = {
  CNI_CONTAINERID: "c1",
  CNI_IFNAME: "eth0",
  CNI_NETNS: "/run/netns/c1",
  CNI_PATH: "/opt/cni/bin:/usr/lib/cni",
};
/** What ADD answered, so that CHECK has what it needs. */
const prevResult = { interfaces: [{ name: "eth0", sandbox: "/run/netns/c1" }], ips: [] };

function answerTo(command: string, config: unknown, changes: object = {}) {
  const decoded = decodeCall(cniBody({ ...ENVIRONMENT, CNI_COMMAND: command, ...changes }, config));
  if (!(decoded.call instanceof Fault)) return { call: decoded.call };
  const { status, body } = errorReply(decoded.version, decoded.command, decoded.call);
  assert.notEqual(status, 200);
  return { error: JSON.parse(body) as { cniVersion: string; code: number; msg: string; details: string } };
}

/** Which versions have the verb. */
const SINCE: Readonly<Record<CniCommand, string>> = {
  ADD: "0.3.0",
  DEL: "0.3.0",
  VERSION: "0.3.0",
  CHECK: "0.4.0",
  STATUS: "1.1.0",
  GC: "1.1.0",
};

test("each verb is there from its version on, and before that refused in the version of the call", () => {
  for (const command of CNI_COMMANDS)
    for (const cniVersion of CNI_VERSIONS) {
      const { call, error } = answerTo(command, { cniVersion, name: "dcos", type: "weft-cni", prevResult });
      if (CNI_VERSIONS.indexOf(cniVersion) >= (CNI_VERSIONS as readonly string[]).indexOf(SINCE[command]))
        assert.equal(call?.command, command, `${command} ${cniVersion}: ${error?.msg}`);
      else assert.deepEqual([error?.code, error?.cniVersion], [1, cniVersion], `${command} ${cniVersion}`);
    }
});

test("every verb refuses a version that it does not speak with code 1, and says which it speaks", () => {
  for (const command of CNI_COMMANDS.filter((each) => each !== "VERSION"))
    for (const cniVersion of ["0.1.0", "0.2.0", "1.2.0", "2.0.0", "", 1, null, undefined]) {
      const { error } = answerTo(command, { cniVersion, name: "dcos" });
      assert.equal(error?.code, 1);
      assert.match(error?.msg ?? "", /speaks 0\.3\.0, 0\.3\.1, 0\.4\.0, 1\.0\.0, 1\.1\.0/);
    }
});

test("a configuration that only says cniVersions is in the newest of them that is known", () => {
  const versionFor = (config: object) => decodeCall(cniBody({ ...ENVIRONMENT, CNI_COMMAND: "ADD" }, config));
  const list = ["1.0.0", "0.4.0", "9.0.0"];
  const { version, call } = versionFor({ name: "dcos", cniVersions: list });
  assert(!(call instanceof Fault) && call.command === "ADD");
  assert.deepEqual([version, call.config.cniVersion], ["1.0.0", "1.0.0"]);
  assert.equal(versionFor({ name: "dcos", cniVersions: list, cniVersion: "0.4.0" }).version, "0.4.0");
  for (const cniVersions of [["9.0.0"], [], "1.0.0", null])
    assert(versionFor({ name: "dcos", cniVersions }).call instanceof Fault);
  assert(versionFor({ name: "dcos", cniVersions: list, cniVersion: "9.0.0" }).call instanceof Fault, "a choice is one");
});

test("what a verb needs of its environment, and nothing more", () => {
  const needs: Readonly<Record<string, readonly string[]>> = {
    ADD: ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS"],
    CHECK: ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS"],
    DEL: ["CNI_CONTAINERID", "CNI_IFNAME"],
    STATUS: [],
    GC: [],
    VERSION: [],
  };
  for (const [command, needed] of Object.entries(needs))
    for (const variable of Object.keys(ENVIRONMENT))
      for (const value of [undefined, ""]) {
        const config = { cniVersion: "1.1.0", name: "dcos", prevResult };
        const { call, error } = answerTo(command, config, { [variable]: value });
        if (needed.includes(variable)) assert.deepEqual([error?.code, error?.msg], [4, `${variable} is missing`]);
        else assert.equal(call?.command, command);
      }
});

test("the codes of a call that is wrong: 4 the environment, 6 no JSON, 7 the configuration", () => {
  const config = { cniVersion: "1.0.0", name: "dcos" };
  const table: [string, unknown, object, number][] = [
    ["", config, {}, 4],
    ["add", config, {}, 4],
    ["ADD", config, { CNI_CONTAINERID: "a/b" }, 4],
    ["ADD", config, { CNI_ARGS: "x" }, 4],
    ["ADD", "{", {}, 6],
    ["DEL", "[]", {}, 6],
    ["ADD", { cniVersion: "1.0.0" }, {}, 7],
    ["ADD", { ...config, name: "" }, {}, 7],
    ["ADD", { ...config, ipam: { type: "../../bin/sh" } }, {}, 7],
    ["ADD", { ...config, runtimeConfig: { mac: "x" } }, {}, 7],
    ["CHECK", config, {}, 7],
  ];
  for (const [command, stdin, changes, code] of table)
    assert.equal(answerTo(command, stdin, changes).error?.code, code, `${command} ${JSON.stringify(stdin)}`);
  const gc = { cniVersion: "1.1.0", name: "dcos", "cni.dev/valid-attachments": [{ containerID: "c1" }] };
  assert.equal(answerTo("GC", gc).error?.code, 7);
});

/** What refuses a container (ADD, DEL, CHECK, GC), and what STATUS says of the same. 100 and above are ours. */
const CODES: Readonly<Record<FaultCode, readonly [code: number, status: number]>> = {
  "unsupported-version": [1, 1],
  "unknown-container": [3, 50],
  "bad-environment": [4, 4],
  "bad-netns": [4, 50],
  "corrupt-store": [5, 50],
  storage: [5, 50],
  undecodable: [6, 6],
  "bad-config": [7, 50],
  "bad-request": [7, 7],
  "not-leader": [11, 50],
  "not-ready": [11, 50],
  "network-failed": [11, 51],
  exhausted: [101, 50],
  "address-taken": [102, 50],
  forbidden: [102, 50],
  "identity-taken": [102, 50],
  "in-use": [102, 50],
  "no-rights": [102, 50],
  "not-admitted": [102, 50],
  "port-taken": [102, 50],
  unauthorized: [102, 50],
  "check-failed": [103, 50],
  "interface-exists": [104, 50],
  "kernel-lacks": [105, 50],
  "kernel-refused": [106, 50],
  "unknown-agent": [107, 50],
  "unknown-network": [107, 50],
  "engine-failed": [109, 50],
  "delegate-failed": [108, 50],
};

test("every refusal has its code, in every verb and every version, with message and details", () => {
  assert.deepEqual(Object.keys(CODES).sort(), Object.keys(FAULT_TABLE).sort());
  for (const [code, [plain, status]] of Object.entries(CODES) as [FaultCode, readonly [number, number]][])
    for (const cniVersion of CNI_VERSIONS)
      for (const command of [...CNI_COMMANDS, undefined]) {
        const reply = errorReply(cniVersion, command, new Fault(code, "a fact; a remedy", { network: "dcos" }));
        assert.equal(reply.status, FAULT_TABLE[code].http);
        assert.deepEqual(JSON.parse(reply.body), {
          cniVersion,
          code: command === "STATUS" ? status : plain,
          msg: "a fact; a remedy",
          details: `${code} {"network":"dcos"}`,
        });
      }
});

test("GC: the list under its name, or under the one that the specification had first", () => {
  const list = [
    { containerID: "c1", ifname: "eth0", netns: "/x" },
    { containerID: "c2", ifname: "eth1" },
  ];
  const valid = [
    { containerId: "c1", ifname: "eth0" },
    { containerId: "c2", ifname: "eth1" },
  ];
  const table: [object, unknown][] = [
    [{ "cni.dev/valid-attachments": list }, valid],
    [{ "cni.dev/attachments": list }, valid],
    [{ "cni.dev/valid-attachments": [], "cni.dev/attachments": list }, []],
    [{ "cni.dev/valid-attachments": null }, []],
    [{}, undefined],
  ];
  for (const [keys, expected] of table) {
    const { call } = answerTo("GC", { cniVersion: "1.1.0", name: "dcos", ...keys });
    assert(call?.command === "GC");
    assert.deepEqual(call.valid, expected);
  }
  for (const wrong of [{}, "c1", ["c1"], [{ containerID: "c1", ifname: 1 }], [...list, null]]) {
    const { error } = answerTo("GC", { cniVersion: "1.1.0", name: "dcos", "cni.dev/valid-attachments": wrong });
    assert.match(error?.msg ?? "", /cni\.dev\/valid-attachments/, "one wrong entry spoils the list");
  }
});

test("DEL works with whatever ADD was refused for", () => {
  const config = {
    cniVersion: "1.0.0",
    name: "dcos",
    dns: 1,
    prevResult: 1,
    runtimeConfig: { portMappings: 1 },
    args: 1,
  };
  assert(answerTo("ADD", config).error !== undefined, "a control");
  const { call } = answerTo("DEL", config, { CNI_ARGS: "nonsense", CNI_NETNS: undefined });
  assert(call?.command === "DEL");
  assert.deepEqual([call.netns, call.args, call.config.json], [undefined, "nonsense", config]);
});

test("who gives the addresses, and as which plugin Weft was called", () => {
  const of = (config: object, changes: object = {}) => {
    const { call } = answerTo("ADD", { cniVersion: "1.1.0", name: "mine", ...config }, changes);
    assert(call?.command === "ADD");
    return call;
  };
  const called = { CNI_WEFT_PLUGIN: "weft-ipam", CNI_WEFT_RUNTIME: "podman" };
  assert.deepEqual(of({ ipam: { type: "host-local", ranges: [] } }).config.ipam, { type: "host-local" });
  for (const ipam of [undefined, null, {}, { type: "" }, { type: "weft-ipam" }])
    assert.equal(of({ ipam }).config.ipam, undefined);
  const delegate = of({ type: "bridge", ipam: { type: "weft-ipam", network: "dcos" }, network: "ignored" }, called);
  assert.deepEqual(
    [delegate.plugin, delegate.runtime, delegate.config.name, delegate.config.network],
    ["weft-ipam", "podman", "mine", "dcos"],
  );
  assert.equal(of({ ipam: { type: "host-local", network: "theirs" } }).config.network, "mine");
  assert.equal(of({}, { CNI_WEFT_PLUGIN: "weft-cni.part" }).plugin, "weft-cni");
  assert.equal(of({}, { CNI_WEFT_RUNTIME: `x\u001b${"y".repeat(99)}` }).runtime, `x?${"y".repeat(62)}`);
  assert.deepEqual(of({}, { CNI_PATH: "/a::/b:relative:/a" }).cniPath, ["/a", "/b"]);
});

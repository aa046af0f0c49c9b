/**
 * Noise of all kinds against the decoder of netavark's calls. What comes out is a call that keeps every promise of its
 * type, or a fault whose text is short enough for one line, whatever came in.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { netavarkBody } from "../../../test/support/netavark-messages.ts";
import { Fault } from "../../model/fault.ts";
import { parseIp } from "../../model/ip.ts";
import { ALIASES_MAX, PORT_MAPPINGS_MAX } from "../../model/limits.ts";
import { hostNameProblem, networkNameProblem } from "../../model/names.ts";
import { decodeNetavarkCall, type NetavarkCall } from "./call.ts";
import { refusal } from "./reply.ts";

const REFUSAL_MAX_BYTES = 32 << 10;

/** @returns whether it was a call */
function judge(body: Uint8Array): boolean {
  let call: NetavarkCall;
  try {
    call = decodeNetavarkCall(body);
  } catch (error) {
    assert(error instanceof Fault, String(error));
    assert(["bad-request", "bad-environment", "undecodable"].includes(error.code), error.code);
    const { status, body: text } = refusal(error);
    assert(status !== 200 && text.length < REFUSAL_MAX_BYTES);
    assert.deepEqual(Object.keys(JSON.parse(text)), ["error"]);
    return false;
  }
  const { network } = call.command === "create" ? call.asked : call;
  assert.equal(networkNameProblem(network), undefined);
  if (call.command === "setup") judgeSetup(call);
  return true;
}

function judgeSetup({ wishes, netns, containerId, ifname }: Extract<NetavarkCall, { command: "setup" }>): void {
  assert(netns.startsWith("/") && containerId !== "" && ifname !== "");
  for (const address of wishes.ips) assert.equal(parseIp(address), address);
  assert(wishes.ports.length <= PORT_MAPPINGS_MAX && wishes.aliases.length <= ALIASES_MAX);
  for (const { hostPort, containerPort } of wishes.ports)
    for (const port of [hostPort, containerPort]) assert(Number.isInteger(port) && port > 0 && port < 65_536);
  const places = wishes.ports.map(({ hostPort, hostIp, protocol }) => `${protocol} ${hostIp} ${hostPort}`);
  assert.equal(new Set(places).size, places.length, "one host port leads to one port");
  for (const alias of wishes.aliases) assert.equal(hostNameProblem(alias), undefined);
}

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
const port = or(fc.integer({ min: 1, max: 65_535 }), 0, 65_536, 80.5);
const mapping = fc.record({
  host_port: port,
  container_port: port,
  host_ip: or(words("", "127.0.0.1", "::"), "x"),
  protocol: or(words("tcp", "udp", "tcp,udp", ""), "sctp"),
  range: or(fc.integer({ min: 0, max: 5 }), 65_535, -1),
});
const network = {
  name: or(words("dcos", "podboth"), "a/b", ""),
  options: or(
    some({ "weft.network": or(words("both"), ""), "weft.socket": or(words("/x")), __proto__: or(words("x")) }),
  ),
  subnets: or(list(or(some({ subnet: or(words("10.8.0.0/16")), gateway: or(words("10.8.0.1")) })))),
  ipam_options: or(some({ driver: or(words("weft", ""), "host-local") })),
};
const options = some({
  interface_name: or(words("eth0"), "a/b"),
  aliases: or(list(or(words("web", "A.b"), "-"))),
  static_ips: or(list(or(words("10.8.0.5", "fd01:c::5"), "x"))),
  static_mac: or(words("02:00:00:00:00:01", ""), "01:00:00:00:00:01"),
  options: or(fc.constant({}), { a: "b" }),
});
const container = fc.record({
  container_id: or(words("c1"), "a/b", ""),
  container_name: or(words("web", "")),
  port_mappings: or(list(or(mapping))),
  network: or(some(network)),
  network_options: or(options),
});

test("calls that are nearly right are calls, or faults", () => {
  let calls = 0;
  const stdin = fc.oneof(container, some(network));
  fc.assert(
    fc.property(words("create", "setup", "teardown"), stdin, (command, json) => {
      if (judge(netavarkBody({ command, netns: "/run/netns/c1", requestId: "r" }, json))) calls++;
    }),
    { numRuns: 3_000 },
  );
  assert(calls > 100, `${calls} calls`);
});

test("bytes are no calls", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), words("setup", "create"), (bytes, command) => {
      judge(bytes);
      judge(netavarkBody({ command, netns: "/x" }, Buffer.from(bytes).toString("latin1")));
    }),
  );
});

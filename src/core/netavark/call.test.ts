import assert from "node:assert/strict";
import { test } from "node:test";
import {
  CONTAINER_ID,
  CREATE,
  type NetavarkTestCall,
  netavarkBody,
  SETUP,
  setupWith,
} from "../../../test/support/netavark-messages.ts";
import { Fault } from "../../model/fault.ts";
import { CNI_CALL_MAX_BYTES, PORT_MAPPINGS_MAX } from "../../model/limits.ts";
import { decodeNetavarkCall } from "./call.ts";

const NETNS = "/run/netns/netns-ca08ee58";
const AS_SETUP: NetavarkTestCall = { command: "setup", netns: NETNS, requestId: "r1" };

function setup(stdin: unknown, call = AS_SETUP) {
  const decoded = decodeNetavarkCall(netavarkBody(call, stdin));
  assert(decoded.command === "setup");
  return decoded;
}

function refused(call: NetavarkTestCall, stdin: unknown, message: RegExp): void {
  assert.throws(
    () => decodeNetavarkCall(netavarkBody(call, stdin)),
    (error) => error instanceof Fault && message.test(error.message),
    `${message} by ${JSON.stringify(stdin)}`,
  );
}

test("what Podman 5.5 sends is understood", () => {
  const tcp = { protocol: "tcp", hostPort: 8080, containerPort: 80 };
  assert.deepEqual(setup(SETUP), {
    command: "setup",
    name: "podboth",
    network: "both",
    containerId: CONTAINER_ID,
    ifname: "eth0",
    netns: NETNS,
    requestId: "r1",
    wishes: {
      ips: [],
      ports: [
        tcp,
        { ...tcp, hostPort: 8081, containerPort: 81 },
        { ...tcp, hostPort: 8082, containerPort: 82 },
        { protocol: "udp", hostPort: 9090, containerPort: 80, hostIp: "127.0.0.1" },
      ],
      aliases: ["web", "407a0288d746"],
    },
    task: { name: "one", labels: {} },
  });
  const create = decodeNetavarkCall(netavarkBody({ command: "create" }, CREATE));
  assert(create.command === "create");
  const { json, ...asked } = create.asked;
  assert.deepEqual(json, JSON.parse(CREATE));
  const options = { "weft.network": "both" };
  assert.deepEqual(asked, { name: "podboth", network: "both", options, subnets: [], isIpv6: false, isInternal: false });
});

test("a network is the cluster's of the same name, unless it says another", () => {
  assert.equal(setup(setupWith({}, { name: "dcos", options: null })).network, "dcos");
  assert.equal(setup(setupWith({}, { name: "dcos", options: { "weft.network": "dcos6" } })).network, "dcos6");
});

test("addresses, a MAC and names", () => {
  const asked = { static_ips: ["fd01:c::5", "10.8.0.5"], static_mac: "02:AA:00:00:00:01", aliases: ["Web", "web"] };
  const { ips, mac, aliases } = setup(setupWith({}, {}, asked)).wishes;
  assert.deepEqual([ips, mac, aliases], [["10.8.0.5", "fd01:c::5"], "02:aa:00:00:00:01", ["web"]]);
  assert.equal(setup(setupWith({}, {}, { static_mac: "" })).wishes.mac, undefined);
});

test("host ports: no range is one, no protocol is tcp, several protocols are several, and the last port may be the last", () => {
  const port = { host_port: 8080, container_port: 80 };
  const ports = (...port_mappings: object[]) =>
    setup(setupWith({ port_mappings })).wishes.ports.map(
      ({ protocol, hostIp = "", hostPort, containerPort }) => `${protocol} ${hostIp} ${hostPort} ${containerPort}`,
    );
  assert.deepEqual(ports(port, { ...port, range: 0, protocol: "", host_ip: "" }), ["tcp  8080 80"]);
  assert.deepEqual(ports({ ...port, protocol: "UDP,tcp", host_ip: "::" }), ["udp :: 8080 80", "tcp :: 8080 80"]);
  assert.deepEqual(ports({ ...port, host_port: 65_534, range: 2 }), ["tcp  65534 80", "tcp  65535 81"]);
  assert.equal(ports({ ...port, host_port: 1_000, container_port: 1_000, range: PORT_MAPPINGS_MAX }).length, 4_096);
});

test("whatever is wrong is named, all of it at once", () => {
  const table: readonly (readonly [object, RegExp])[] = [
    [setupWith({ container_id: "" }), /container_id: is empty/],
    [setupWith({ container_id: "a/b" }), /container_id: a\/b may hold only/],
    [setupWith({ container_name: 7 }), /container_name: must be a string/],
    [setupWith({ container_name: "x".repeat(254) }), /container_name: has 254 bytes/],
    [{ ...JSON.parse(SETUP), network: null }, /network\.name: is missing/],
    [setupWith({}, { name: "host", options: {} }), /network\.name: host is reserved.*-o weft\.network=NAME/],
    [setupWith({}, { options: { "weft.network": "a b" } }), /network\.options\.weft\.network: a b may hold only/],
    [setupWith({}, {}, { interface_name: "" }), /network_options\.interface_name: is empty/],
    [setupWith({}, {}, { interface_name: "a/b" }), /interface_name: a\/b may hold only/],
    [setupWith({}, {}, { static_ips: ["10.8.0.5", "10.8.0.6"] }), /static_ips\[1\]: 10\.8\.0\.6 is a second IPv4/],
    [setupWith({}, {}, { static_ips: ["x"] }), /static_ips\[0\]: must be an IP address/],
    [setupWith({}, {}, { static_mac: "01:00:00:00:00:01" }), /static_mac: .*group's address/],
    [setupWith({}, {}, { aliases: ["-"] }), /aliases\[0\]: "-" is no host name/],
    [setupWith({}, {}, { options: { mtu: "9000" } }), /network_options\.options\.mtu: is no option/],
    ...(
      [
        [{ container_port: 80 }, /port_mappings\[0\]\.host_port: is missing/],
        [{ host_port: 0, container_port: 80 }, /host_port: must be a whole number from 1 to 65535/],
        [{ host_port: 1, container_port: 65_535, range: 2 }, /container_port: 2 ports from 65535 on go beyond 65535/],
        [{ host_port: 1, container_port: 1, range: 4_097 }, /port_mappings: are more than 4096 ports/],
        [{ host_port: 1, container_port: 1, protocol: "tcp,sctp" }, /protocol: must be tcp, udp or both/],
        [{ host_port: 1, container_port: 1, host_ip: "224.0.0.1" }, /host_ip: 224\.0\.0\.1 is no address/],
      ] as const
    ).map(([port, message]) => [setupWith({ port_mappings: [port] }), message] as const),
  ];
  for (const [stdin, message] of table) refused(AS_SETUP, stdin, message);
  refused(AS_SETUP, setupWith({ container_id: "", container_name: 7 }), /container_id.*; container_name/);
  refused(
    { ...AS_SETUP, netns: "relative" },
    SETUP,
    /the network namespace behind the command: relative is no absolute/,
  );
  refused({ command: "setup" }, SETUP, /the network namespace behind the command: is missing/);
});

test("two ranges that lead one port to two places are refused", () => {
  const port_mappings = [
    { host_port: 8080, container_port: 80, range: 3 },
    { host_port: 8082, container_port: 90 },
  ];
  refused(AS_SETUP, setupWith({ port_mappings }), /leads tcp port 8082 of the host to port 90, an earlier one to 82/);
});

test("teardown needs only what names the attachment", () => {
  const stdin = setupWith(
    { port_mappings: "x" },
    { subnets: 7 },
    { static_ips: ["x"], aliases: 7, options: { a: "b" } },
  );
  const { command, ...who } = decodeNetavarkCall(netavarkBody({ ...AS_SETUP, command: "teardown" }, stdin));
  const expected = { name: "podboth", network: "both", containerId: CONTAINER_ID, ifname: "eth0" };
  assert.deepEqual([command, who], ["teardown", { ...expected, netns: NETNS, requestId: "r1" }]);
  refused({ ...AS_SETUP, command: "teardown" }, setupWith({ container_id: 7 }), /container_id: must be a string/);
});

test("create refuses what Weft does not let people choose, all of it at once", () => {
  const asked = (more: object) => ({ ...JSON.parse(CREATE), ...more });
  const table: readonly (readonly [object, RegExp])[] = [
    [{ options: { mtu: "9000" } }, /options\.mtu: is no option of Weft, which has weft\.network and weft\.socket/],
    [{ options: { "weft.socket": 7 } }, /options\.weft\.socket: must be a string/],
    [{ ipam_options: { driver: "host-local" } }, /ipam_options\.driver: .*leave --ipam-driver out/],
    [{ network_interface: "br0" }, /network_interface: .*leave --interface-name out/],
    [{ routes: [{ destination: "10.0.0.0/8" }] }, /routes: .*leave --route out/],
    [{ network_dns_servers: ["1.1.1.1"] }, /network_dns_servers: .*leave --dns out/],
    [{ subnets: [{ subnet: "x" }] }, /subnets\[0\]\.subnet: must be in CIDR notation/],
    [{ subnets: [{ subnet: "10.8.0.0/16", gateway: "x" }] }, /subnets\[0\]\.gateway: must be an IP address/],
    [{ subnets: [{ subnet: "10.8.0.0/16", lease_range: {} }] }, /lease_range: .*leave --ip-range out/],
    [{ name: "", options: {} }, /name: is empty/],
  ];
  for (const [more, message] of table) refused({ command: "create" }, asked(more), message);
  refused(
    { command: "create" },
    asked({ network_interface: "br0", ipam_options: { driver: 7 } }),
    /ipam.*; network_int/,
  );
  const sound = { network_interface: "", routes: null, network_dns_servers: [], ipam_options: { driver: "weft" } };
  assert.equal(decodeNetavarkCall(netavarkBody({ command: "create" }, asked(sound))).command, "create");
});

test("what is no call is refused", () => {
  refused({ command: "update" }, SETUP, /started with "update"; it is one of create, setup, teardown, info/);
  for (const stdin of ["", "nonsense", "[]", '"x"']) refused(AS_SETUP, stdin, /what netavark wrote on stdin/);
  for (const body of ["", "COMMAND=setup", "x".repeat(CNI_CALL_MAX_BYTES + 1)])
    assert.throws(() => decodeNetavarkCall(Buffer.from(body)), Fault);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import type { PortMapping } from "../../model/attachment.ts";
import { ip } from "../../model/ip.ts";
import { idlePorts, meets, requireFreePorts, requireUnboundPorts } from "./port-claims.ts";

const http: PortMapping = { protocol: "tcp", hostPort: 8080, containerPort: 80 };
const V4 = { containerId: "c1", ifname: "eth0", runtime: "", ip: ip("9.0.1.2") };
const V6 = { containerId: "c6", ifname: "eth0", runtime: "", ip6: ip("fd01:b::2") };
const held = { containerId: "c0", ifname: "eth0", runtime: "", name: "web", ip: ip("9.0.1.9"), ports: [http] };

test("a port that a container holds is refused to another, by its name", () => {
  assert.throws(
    () => requireFreePorts({ ...V4, ports: [http] }, [held]),
    /tcp port 8080 of this host is held by container web \(c0\)/,
  );
});

test("another protocol, port, family or a more specific address is another claim", () => {
  const others: PortMapping[] = [
    { ...http, protocol: "udp" },
    { ...http, hostPort: 8081 },
    { ...http, hostIp: ip("127.0.0.1") },
  ];
  for (const mapping of others) requireFreePorts({ ...V4, ports: [mapping] }, [held]);
  requireFreePorts({ ...V6, ports: [http] }, [held]);
  assert.throws(() => requireFreePorts({ ...V4, ...V6, ports: [http] }, [held]), /held by/);
  const local = { ...http, hostIp: ip("127.0.0.1") };
  assert.throws(
    () => requireFreePorts({ ...V4, ports: [local] }, [{ ...held, ports: [local] }]),
    /tcp port 8080 of 127\.0\.0\.1 of this host is held/,
  );
});

test("a container that joins a second network says its ports again", () => {
  requireFreePorts({ ...V4, ifname: "eth1", ports: [http] }, [{ ...V4, ports: [http] }]);
});

test("a host address of a family that the interface lacks claims nothing, and is known to lead nowhere", () => {
  const local6 = { ...http, hostIp: ip("2001:db8::1") };
  requireFreePorts({ ...V4, ports: [local6] }, [{ ...V6, containerId: "c2", ports: [local6] }]);
  assert.deepEqual(idlePorts({ ...V4, ports: [http, local6] }), [local6]);
  assert.deepEqual(idlePorts({ ...V4, ...V6, ports: [http, local6] }), []);
});

test("a socket is met at its own address, and wherever either side means all addresses", () => {
  assert.ok(meets(http, ip("10.0.0.1")));
  assert.ok(meets({ ...http, hostIp: ip("10.0.0.1") }, ip("0.0.0.0")));
  assert.ok(meets({ ...http, hostIp: ip("10.0.0.1") }, ip("10.0.0.1")));
  assert.ok(!meets({ ...http, hostIp: ip("10.0.0.1") }, ip("127.0.0.1")));
});

test("what keeps a port for the container is in nobody's way: who names it, and Podman while it asks for a network", () => {
  const require = (command: string, runtime: string) =>
    requireUnboundPorts({ ...V4, runtime, ports: [http] }, () => [{ address: ip("0.0.0.0"), pid: 42, command }]);
  require("/usr/bin/conmon -c c1", "netavark");
  require("/usr/bin/podman run -p 8080:80 web", "podman");
  require("podman system service", "podman");
  for (const [command, runtime] of [
    ["/usr/bin/conmon -c c2", "podman"],
    ["/usr/bin/podman run -p 8080:80 web", "containerd"],
    ["/usr/sbin/nginx podman", "podman"],
    ["/opt/podman/nginx", "podman"],
    ["", "podman"],
  ] as const)
    assert.throws(() => require(command, runtime), /held by process 42/, command);
});

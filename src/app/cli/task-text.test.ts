import assert from "node:assert/strict";
import { test } from "node:test";
import { ip } from "../../model/ip.ts";
import { tasksTable } from "./task-text.ts";

const WEB = {
  framework: "docker",
  name: "web",
  runtime: "docker",
  containerId: "c1",
  image: "nginx",
  labels: {},
  ports: [
    { protocol: "tcp", containerPort: 80, hostPort: 8080 },
    { protocol: "udp", containerPort: 53 },
  ],
  health: "healthy" as const,
  networks: [{ network: "dual", addresses: [ip("9.0.1.130"), ip("fd01:b::1:8000:0:2")], endpointId: "e1" }],
};
const DB = { ...WEB, name: "db", framework: "prod", runtime: "podman", ports: [], networks: [] };

test("tasks, with a line for each address", () => {
  const { health: _, ...db } = DB;
  assert.equal(
    tasksTable([WEB, db]),
    `
TASK  FRAMEWORK      NETWORK  ADDRESS             PORTS                HEALTH
web   docker         dual     9.0.1.130           8080->80/tcp,53/udp  healthy
                     dual     fd01:b::1:8000:0:2
db    prod (podman)  -        -                   -                    -`.slice(1),
  );
});

test("no line is wider than a terminal, however long the names are; addresses stay whole", () => {
  const long = "x".repeat(63);
  const ports = [{ protocol: "tcp", containerPort: 65_535, hostPort: 65_535, hostIp: ip("fd01:b::1:8000:0:2") }];
  const networks = [{ network: "thirteen-byte", addresses: [ip("fd01:bbbb:cccc:dddd:1111:2222:3333:4444")] }];
  const text = tasksTable([{ ...WEB, name: long, framework: long, runtime: long, ports, networks }]);
  for (const line of text.split("\n")) assert.ok(line.length <= 80, `${line.length}: ${line}`);
  assert.match(text, /fd01:bbbb:cccc:dddd:1111:2222:3333:4444/);
  assert.match(tasksTable([{ ...WEB, ports }]), /\[fd01:b/);
});

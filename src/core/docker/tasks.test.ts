/** What of containers and leases makes a task, and what it is called. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Attachment, Lease } from "../../model/attachment.ts";
import { ip } from "../../model/ip.ts";
import { LABEL_VALUE_MAX_BYTES, LABELS_MAX } from "../../model/limits.ts";
import type { EngineContainer } from "./engine.ts";
import { allTasks, dockerTasks } from "./tasks.ts";

const ADDRESSES = [ip("9.0.1.130")];
const CONTAINER: EngineContainer = {
  id: "c".repeat(64),
  name: "web",
  image: "nginx",
  labels: {},
  ports: [],
  networks: [{ network: "dcos", networkId: "n1", endpointId: "e1", addresses: ADDRESSES }],
};

function taskOf(change: Partial<EngineContainer>) {
  return dockerTasks([{ ...CONTAINER, ...change }])[0] ?? assert.fail("a container is a task");
}

function leaseOf(change: Partial<Attachment>): Lease {
  const lease = { containerId: "p1", ifname: "eth0", network: "dcos", ip: ip("9.0.1.2"), runtime: "podman" };
  return { ...lease, ...change } as Partial<Attachment> as Lease;
}

test("a container without labels of ours is of the framework docker, and called as it is", () => {
  assert.deepEqual(taskOf({ health: "healthy" }), {
    framework: "docker",
    name: "web",
    runtime: "docker",
    containerId: CONTAINER.id,
    image: "nginx",
    labels: {},
    ports: [],
    health: "healthy",
    networks: [{ network: "dcos", addresses: ADDRESSES, endpointId: "e1" }],
  });
});

test("labels name framework and task, and are all passed on", () => {
  const labels = {
    "weft.framework": "marathon",
    "weft.task": "c.b.a",
    VIP_0: "/web:80",
    vip_port0: "tcp://web:80",
    a: "",
  };
  const { framework, name, labels: passed } = taskOf({ labels });
  assert.deepEqual({ framework, name, passed }, { framework: "marathon", name: "c.b.a", passed: labels });
  const empty = taskOf({ labels: { "weft.framework": "", "weft.task": "" } });
  assert.deepEqual([empty.framework, empty.name], ["docker", "web"]);
  assert.equal(taskOf({ name: "" }).name, "cccccccccccc");
});

test("of labels that are too many or too large, ours are kept", () => {
  const many = Object.fromEntries(Array.from({ length: LABELS_MAX + 5 }, (_, i) => [`k${i}`, "v"]));
  const labels = {
    ...many,
    long: "x".repeat(LABEL_VALUE_MAX_BYTES + 1),
    broken: "a\nb",
    VIP_0: "/a:1",
    "weft.task": "t",
  };
  const kept = taskOf({ labels }).labels;
  assert.equal(Object.keys(kept).length, LABELS_MAX);
  assert.deepEqual([kept.VIP_0, kept["weft.task"], kept.long, kept.broken], ["/a:1", "t", undefined, undefined]);
});

test("leases of other runtimes are tasks, one for each container", () => {
  const leases = [
    leaseOf({ name: "db", labels: { "weft.framework": "prod" } }),
    leaseOf({ network: "dcos6", ip6: ip("fd01:b::2"), ifname: "eth1" }),
    leaseOf({ containerId: "0123456789abcdef", runtime: "" }),
  ];
  delete (leases[1] as { ip?: unknown }).ip;
  const [db, nameless, ...none] = allTasks([], leases);
  assert.deepEqual(db, {
    framework: "prod",
    name: "db",
    runtime: "podman",
    containerId: "p1",
    labels: { "weft.framework": "prod" },
    ports: [],
    networks: [
      { network: "dcos", addresses: ["9.0.1.2"] },
      { network: "dcos6", addresses: ["fd01:b::2"] },
    ],
  });
  assert.deepEqual([nameless?.framework, nameless?.runtime, nameless?.name], ["cni", "cni", "0123456789ab"]);
  assert.deepEqual(none, []);
});

test("a lease of a Docker container is no task of its own, and tells its published ports", () => {
  const exposed = [
    { protocol: "tcp", containerPort: 443 },
    { protocol: "tcp", containerPort: 80 },
    { protocol: "tcp", containerPort: 80 },
  ];
  const docker = dockerTasks([{ ...CONTAINER, ports: exposed }]);
  for (const containerId of ["e1", CONTAINER.id]) {
    const ports = [{ protocol: "tcp", hostPort: 8080, containerPort: 80 }] as const;
    const tasks = allTasks(docker, [leaseOf({ containerId, ports, hostIfname: "weft1" })]);
    assert.equal(tasks.length, 1);
    assert.deepEqual(tasks[0]?.ports, [
      { protocol: "tcp", containerPort: 80, hostPort: 8080 },
      { protocol: "tcp", containerPort: 443 },
    ]);
  }
});

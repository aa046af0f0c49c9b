/**
 * What runs on a host, whatever runs it, as tasks: what names and virtual addresses are made of. Docker's containers come
 * from the engine's list, those of other runtimes from their leases, which hold what CNI said of them.
 *
 * A task's framework and name are the labels `weft.framework` and `weft.task`; else the framework is the runtime, and the
 * name the container's. All other labels, `VIP_0` and its like among them, are passed on as they are.
 */
import { type Attachment, addressesOf, isAttachment, type Lease } from "../../model/attachment.ts";
import { contains, type Ip } from "../../model/ip.ts";
import { LABEL_KEY_MAX_BYTES, LABEL_VALUE_MAX_BYTES, LABELS_MAX } from "../../model/limits.ts";
import { type EngineContainer, type EngineOptions, type EnginePort, type Health, STAND_IN } from "./engine.ts";

const FRAMEWORK_LABEL = "weft.framework";
const TASK_LABEL = "weft.task";
/** What the engine's containers are leased under, and what those without any label of ours belong to. */
export const DOCKER_RUNTIME = "docker";
/** Of a container of which nobody says by whom it was run. */
const NO_RUNTIME = "cni";
/** Labels that mean something to Weft: of too many, they are kept. */
const OWN_LABEL = /^(weft\.|vip)/i;
const SHORT_ID = 12;

export interface Task {
  readonly framework: string;
  readonly name: string;
  /** `docker`, `podman`, …; `cni` where it is not known. */
  readonly runtime: string;
  readonly containerId: string;
  readonly image?: string;
  readonly labels: EngineOptions;
  readonly ports: readonly EnginePort[];
  /** Absent: nobody checks, or it is not known. */
  readonly health?: Health;
  readonly networks: readonly TaskNetwork[];
}

export interface TaskNetwork {
  readonly network: string;
  readonly addresses: readonly Ip[];
  /** Docker's name for the container's part in it. */
  readonly endpointId?: string;
}

/** The containers of Docker; those in none of its networks, too, which have the host's address. */
export function dockerTasks(containers: readonly EngineContainer[]): readonly Task[] {
  return containers.map(({ id, name, image, labels, ports, health, networks }) => ({
    ...nameOf({ labels, runtime: DOCKER_RUNTIME, name: name || id.slice(0, SHORT_ID) }),
    runtime: DOCKER_RUNTIME,
    containerId: id,
    image,
    labels: boundedLabels(labels),
    ports: distinct(ports),
    ...(health !== undefined && { health }),
    networks: networks.map(({ network, endpointId, addresses }) => ({
      network,
      addresses: addresses.filter((address) => !contains(STAND_IN, address)),
      endpointId,
    })),
  }));
}

/**
 * All tasks of a host. A lease belongs to a task of Docker's when it is held for its container or for one of its endpoints;
 * then what it knows of published ports, which Docker does not tell of our networks, is added.
 */
export function allTasks(docker: readonly Task[], leases: readonly Lease[]): readonly Task[] {
  const owners = new Map<string, Task>();
  for (const task of docker) {
    owners.set(task.containerId, task);
    for (const { endpointId } of task.networks) if (endpointId !== undefined) owners.set(endpointId, task);
  }
  const published = Map.groupBy(leases, ({ containerId }) => owners.get(containerId));
  const others = Map.groupBy(published.get(undefined) ?? [], ({ containerId }) => containerId);
  return [
    ...docker.map((task) => {
      const ports = (published.get(task) ?? []).flatMap(publishedPorts);
      return ports.length === 0 ? task : { ...task, ports: merged(task.ports, ports) };
    }),
    ...[...others.values()].map(leasedTask),
  ];
}

/** A container of which nothing is known but its leases, of which there is one at least. */
function leasedTask(leases: readonly Lease[]): Task {
  const { containerId = "", name = containerId.slice(0, SHORT_ID), labels = {}, runtime = "" } = leases[0] ?? {};
  const known = runtime || NO_RUNTIME;
  return {
    ...nameOf({ labels, runtime: known, name }),
    runtime: known,
    containerId,
    labels,
    ports: distinct(leases.flatMap(publishedPorts)),
    networks: leases.map((lease) => ({ network: lease.network, addresses: addressesOf(lease) })),
  };
}

function nameOf(known: { readonly labels: EngineOptions; readonly runtime: string; readonly name: string }) {
  const { labels, runtime, name } = known;
  return { framework: labels[FRAMEWORK_LABEL] || runtime, name: labels[TASK_LABEL] || name };
}

/** Those that a lease may have: anybody who runs a container writes them, and they are kept and told to others. */
function boundedLabels(labels: EngineOptions): EngineOptions {
  const sound = Object.entries(labels).filter(
    ([key, value]) =>
      Buffer.byteLength(key) <= LABEL_KEY_MAX_BYTES &&
      Buffer.byteLength(value) <= LABEL_VALUE_MAX_BYTES &&
      !/\p{Cc}/u.test(key + value),
  );
  if (sound.length <= LABELS_MAX) return Object.fromEntries(sound);
  const isOwn = ([key]: readonly [string, string]) => OWN_LABEL.test(key);
  const kept = [...sound.filter(isOwn), ...sound.filter((label) => !isOwn(label))];
  return Object.fromEntries(kept.slice(0, LABELS_MAX));
}

function publishedPorts(lease: Lease): readonly EnginePort[] {
  const { ports = [] }: Partial<Attachment> = isAttachment(lease) ? lease : {};
  return ports.map(({ protocol, containerPort, hostPort, hostIp }) => ({
    protocol,
    containerPort,
    hostPort,
    ...(hostIp !== undefined && { hostIp }),
  }));
}

/** A port that is published is exposed as well, and is told once. */
function merged(exposed: readonly EnginePort[], published: readonly EnginePort[]): readonly EnginePort[] {
  const isPublished = (port: EnginePort) =>
    published.some(({ protocol, containerPort }) => protocol === port.protocol && containerPort === port.containerPort);
  return distinct([...exposed.filter((port) => port.hostPort !== undefined || !isPublished(port)), ...published]);
}

/** By port and protocol, as they are written: Docker lists them in any order, and some twice. */
function distinct(ports: readonly EnginePort[]): readonly EnginePort[] {
  const keyOf = ({ containerPort, protocol, hostIp, hostPort = 0 }: EnginePort) =>
    [String(containerPort).padStart(5, "0"), protocol, hostIp ?? "", String(hostPort).padStart(5, "0")].join(" ");
  const byKey = new Map(ports.map((port) => [keyOf(port), port]));
  return [...byKey].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, port]) => port);
}

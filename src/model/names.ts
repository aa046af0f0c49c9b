/**
 * Names that are fixed by the original, by the kernel or by us, and the rules for names that people choose.
 */
import {
  CNI_CONTAINER_ID_MAX_BYTES,
  HOST_NAME_LABEL_MAX_BYTES,
  HOST_NAME_MAX_BYTES,
  IFNAME_MAX_BYTES,
  INTERFACE_RANK_MAX,
  NETWORK_NAME_MAX_BYTES,
  PATH_MAX_BYTES,
} from "./limits.ts";

/** One VXLAN segment carries all overlays (spec: overlay §2.3). */
export const VNI = 1024;
export const VTEP_NAME = "vtep1024";
export const VXLAN_PORT = 64_000;
/** The original's routing table for node addresses; used only where the kernel cannot forward at ingress. */
export const NODE_TABLE = 42;
/** Inside a container, 870 and an interface's rank: the way out of what has that interface's address. */
export const INTERFACE_TABLE = 870;

/** Marks kernel objects as ours: `ifalias` of links begins with it, nftables tables carry it as their name. */
export const OWNER = "weft";
/** Marks routes and rules as ours (`ip route show proto 87`). Unassigned in /etc/iproute2/rt_protos; 'W' in ASCII. */
export const ROUTE_PROTOCOL = 87;

const RESERVED_NETWORK_NAMES: readonly string[] = ["host", "bridge", "default", "none"];

/** Is it the table of one interface of a container, rather than of the whole namespace? */
export function isInterfaceTable(table: number): boolean {
  return table > INTERFACE_TABLE && table <= INTERFACE_TABLE + INTERFACE_RANK_MAX;
}

export function mesosBridgeName(network: string): string {
  return `m-${network}`;
}

export function dockerBridgeName(network: string): string {
  return `d-${network}`;
}

/**
 * What is wrong with a network's name, or `undefined`. The name becomes part of a device, a file and a Docker network,
 * so it must be legal in all three.
 */
export function networkNameProblem(name: string): string | undefined {
  if (name === "") return "is empty";
  if (Buffer.byteLength(name) > NETWORK_NAME_MAX_BYTES)
    return `has ${Buffer.byteLength(name)} bytes, at most ${NETWORK_NAME_MAX_BYTES} fit a device name`;
  if (RESERVED_NETWORK_NAMES.includes(name)) return "is reserved by container engines";
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(name))
    return "may hold only letters, digits, '-', '_' and '.', and begins with a letter or digit";
  return undefined;
}

/**
 * What is wrong with a host name, or `undefined`: labels of letters, digits and '-', with dots between them. '_' is let
 * through too, because container engines make names of their containers' names; DNS carries it.
 */
export function hostNameProblem(name: string): string | undefined {
  if (name === "") return "is empty";
  if (Buffer.byteLength(name) > HOST_NAME_MAX_BYTES)
    return `has ${Buffer.byteLength(name)} bytes, a host name has at most ${HOST_NAME_MAX_BYTES}`;
  const labels = name.split(".");
  if (labels.some((label) => label.length > HOST_NAME_LABEL_MAX_BYTES))
    return `has a label of more than ${HOST_NAME_LABEL_MAX_BYTES} bytes between its dots`;
  if (!labels.every((label) => /^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?$/.test(label)))
    return "is no host name: letters, digits, '-' and '_', with single dots between them";
  return undefined;
}

/** What is wrong with a container's id, or `undefined`. */
export function containerIdProblem(id: string): string | undefined {
  if (Buffer.byteLength(id) > CNI_CONTAINER_ID_MAX_BYTES)
    return `has ${Buffer.byteLength(id)} bytes, at most ${CNI_CONTAINER_ID_MAX_BYTES} are taken`;
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(id))
    return "may hold only letters, digits, '_', '.' and '-', and begins with a letter or digit";
  return undefined;
}

/**
 * What is wrong with an interface's name, or `undefined`. Beyond the kernel's own rule: `%` would be filled in by the
 * kernel, and `all` and `default` are folders of sysctls for every device.
 */
export function ifnameProblem(name: string): string | undefined {
  if (Buffer.byteLength(name) > IFNAME_MAX_BYTES)
    return `has ${Buffer.byteLength(name)} bytes, a device's name has at most ${IFNAME_MAX_BYTES}`;
  if (!/^[!-~]+$/.test(name) || /[/:%]/.test(name))
    return "may hold only visible ASCII characters without '/', ':' and '%'";
  if ([".", "..", "all", "default"].includes(name)) return "is no name for a device";
  return undefined;
}

/** What is wrong with the path of a network namespace as text, or `undefined`; whether it is one, the kernel tells. */
export function netnsPathProblem(path: string): string | undefined {
  if (!path.startsWith("/")) return "is no absolute path";
  if (Buffer.byteLength(path) >= PATH_MAX_BYTES)
    return `has ${Buffer.byteLength(path)} bytes, a path has fewer than ${PATH_MAX_BYTES}`;
  return undefined;
}

/**
 * Per-device settings of /proc/sys/net/ipv{4,6}/conf as a link's message tells them, in two arrays of 32-bit numbers.
 *
 * Looking one up in /proc takes the longer the more network namespaces there are, because the entries of all of them
 * share one hash chain: 0.2 ms each beside a thousand containers. Sources: linux/if_link.h; the order of the arrays:
 * IPV4_DEVCONF_… of linux/ip.h (which counts from 1), DEVCONF_… of linux/ipv6.h.
 */
import { AF_INET, AF_INET6 } from "./family.ts";
import { type Attributes, readU32 } from "./message.ts";

const IFLA_AF_SPEC = 26;
const IFLA_INET_CONF = 1;
const IFLA_INET6_CONF = 2;

/** The settings that are looked for, with the place of each in its array. */
const SETTINGS = [
  { path: "ipv4", name: "forwarding", place: 0 },
  { path: "ipv4", name: "rp_filter", place: 7 },
  { path: "ipv4", name: "promote_secondaries", place: 19 },
  { path: "ipv4", name: "route_localnet", place: 25 },
  { path: "ipv6", name: "accept_ra", place: 3 },
  { path: "ipv6", name: "disable_ipv6", place: 26 },
] as const;

/** The values of SETTINGS, in their order; `undefined` where the kernel's array is shorter, or there is none. */
export type DeviceConf = readonly (number | undefined)[];

export function decodeDeviceConf(link: Attributes): DeviceConf {
  const spec = link.nested(IFLA_AF_SPEC);
  const arrays = {
    ipv4: spec?.nested(AF_INET)?.bytes(IFLA_INET_CONF),
    ipv6: spec?.nested(AF_INET6)?.bytes(IFLA_INET6_CONF),
  };
  return SETTINGS.map(({ path, place }) => {
    const values = arrays[path];
    return values === undefined || values.length < 4 * (place + 1) ? undefined : readU32(values, 4 * place) | 0;
  });
}

/**
 * What a link tells of the setting at `path` (`net/ipv6/conf/DEV/accept_ra`).
 * @param confOf the settings of a device; `undefined` when there is no such device
 */
export function settingAt(path: string, confOf: (dev: string) => DeviceConf | undefined): string | undefined {
  const [, family, dev = "", name] = /^net\/(ipv[46])\/conf\/([^/]+)\/(\w+)$/.exec(path) ?? [];
  const index = SETTINGS.findIndex((setting) => setting.path === family && setting.name === name);
  return confOf(dev)?.[index]?.toString();
}

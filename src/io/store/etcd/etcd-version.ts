/**
 * Whether this etcd, and what is in it, are such that this version of Weft can work with them.
 */
import { Fault } from "../../../model/fault.ts";
import type { EtcdClient } from "./etcd-client.ts";
import { rangeBody, rangeResponse, versionResponse } from "./etcd-messages.ts";
import { endOf, type Layout } from "./layout.ts";

const OLDEST = [3, 4] as const;

/** @throws Fault unsupported-version; as `EtcdClient.call` */
export async function checkVersions(client: EtcdClient, layout: Layout, signal?: AbortSignal): Promise<void> {
  const options = signal && { signal };
  const { etcdserver } = await client.call("/version", {}, versionResponse, options);
  const [major = 0, minor = 0] = etcdserver.split(".").map(Number);
  if (major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1]))
    throw new Fault("unsupported-version", `etcd ${etcdserver} is too old; Weft needs ${OLDEST.join(".")} or newer`, {
      version: etcdserver,
    });
  const firstKey = async (from: string, end: string) => {
    const body = rangeBody(from, { end, limit: 1, keysOnly: true });
    return (await client.call("/v3/kv/range", body, rangeResponse, options)).kvs[0]?.key;
  };
  const { versions, versionsEnd, own } = layout;
  const other = (await firstKey(versions, own)) ?? (await firstKey(endOf(own), versionsEnd));
  if (other !== undefined && layout.isForeign(other))
    throw new Fault(
      "unsupported-version",
      `etcd holds ${other}, which another version of Weft wrote; run that one, or give another prefix in --store`,
      { key: other },
    );
}

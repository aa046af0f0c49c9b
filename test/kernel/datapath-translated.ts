/**
 * Service addresses that something on the client's host translates: the answer comes from a container with an address of its
 * own, and must meet the translation on its way back, which programs would pass by. For datapath-paths*.test.ts.
 */
import assert from "node:assert/strict";
import { it, type TestContext } from "node:test";
import { type Family, ip } from "../../src/model/ip.ts";
import { echoed } from "../support/datapath-flows.ts";
import { counted, type LabContainer, type LabHost, UNDERLAY_DEV } from "../support/datapath-hosts.ts";
import type { Ways } from "../support/datapath-ways.ts";
import { connectTcp, listenTcp } from "../support/flow-sockets.ts";

const FAMILIES = [4, 6] as const;
export const SERVICE = { 4: ip("11.0.0.1"), 6: ip("fd01:5e4c::1") } as const;
export const SERVICE_PORT = 7_070;
const MEGABYTE = 1 << 20;
/** A connection that the translation misses is reset at once, or its answers are refused. */
const [IN_VAIN_MS, CONNECTS_MS] = [300, 5_000];

/** Without connections, as a load balancer does that keeps none: both ways by rule, before anything is tracked. Three ports. */
export const stateless = (family: Family, client: LabContainer, backend: LabContainer): string => {
  const [ip, service] = [family === 4 ? "ip" : "ip6", SERVICE[family]];
  const [from, to] = [client.address[family], backend.address[family]];
  return `table ${ip} services {
    chain both {
      type filter hook prerouting priority -350
      ${ip} daddr ${service} th dport ${SERVICE_PORT}-${SERVICE_PORT + 2} ${ip} daddr set ${to}
      ${ip} saddr ${to} ${ip} daddr ${from} th sport ${SERVICE_PORT}-${SERVICE_PORT + 2} ${ip} saddr set ${service}
    }
  }`;
};

/** By the kernel's own connection tracking. */
const tracked = (family: Family, backend: LabContainer): string => {
  const [ip, to] = [family === 4 ? "ip" : "ip6", backend.address[family]];
  return `table ${ip} services {
    chain there {
      type nat hook prerouting priority -100
      ${ip} daddr ${SERVICE[family]} tcp dport ${SERVICE_PORT} dnat to ${to}
    }
  }`;
};

/** Puts the rules on the host until the test ends, or until the result is called. */
export function translate(t: Pick<TestContext, "after">, host: LabHost, family: Family, rules: string): () => void {
  const { run } = host.netns;
  // Every host has a way out; without one the kernel refuses answers from an address that no route leads to.
  run("ip", `-${family}`, "route", "replace", SERVICE[family], "dev", UNDERLAY_DEV);
  run("sh", "-c", `nft -f - <<'END'\n${rules}\nEND`);
  let isThere = true;
  const stop = () => {
    if (isThere) run("nft", "delete", "table", family === 4 ? "ip" : "ip6", "services");
    isThere = false;
  };
  t.after(stop);
  return stop;
}

async function asks(client: LabContainer, family: Family, timeoutMs: number): Promise<void> {
  const connection = connectTcp(client.netns, client.address[family], SERVICE[family], SERVICE_PORT, timeoutMs);
  await echoed(connection, MEGABYTE);
}

function serve(t: TestContext, backend: LabContainer, family: Family): void {
  const server = listenTcp(backend.netns, backend.address[family], SERVICE_PORT, (connection) => {
    connection.on("error", () => {});
    connection.pipe(connection);
  });
  t.after(() => server.close());
}

export function translationTests(ways: Ways): void {
  for (const family of FAMILIES) {
    statelessTests(ways, family);
    trackedTests(ways, family);
  }
}

function statelessTests({ hosts, level }: Ways, family: Family): void {
  it(`IPv${family}: who asks a service that is translated by rules gets its answer, when the programs know of it`, async (t) => {
    const [one, two] = hosts();
    const [client, neighbor] = one.containers;
    const services = [SERVICE[family]];
    t.after(() => one.pass({ services: [] }));
    for (const backend of [two.containers[0], neighbor]) {
      serve(t, backend, family);
      const stop = translate(t, one, family, stateless(family, client, backend));
      await one.pass({ services });
      const seen = await counted(one, () => asks(client, family, CONNECTS_MS));
      if (level > 0) assert.ok((seen.translated ?? 0) > 10, "answers were left to the kernel");
      await one.pass({ services: [] });
      const unknown = asks(client, family, IN_VAIN_MS);
      if (level === 0) await unknown;
      else await assert.rejects(unknown, "without being told, programs deliver answers past the translation");
      stop();
    }
  });
}

function trackedTests({ hosts }: Ways, family: Family): void {
  it(`IPv${family}: what the kernel's own tracking translates is answered without being told, for it is masqueraded`, async (t) => {
    const [one, two] = hosts();
    const [client, neighbor] = one.containers;
    for (const backend of [two.containers[0], neighbor]) {
      serve(t, backend, family);
      const stop = translate(t, one, family, tracked(family, backend));
      for (const services of [[], [SERVICE[family]]]) {
        await one.pass({ services });
        await asks(client, family, CONNECTS_MS);
      }
      stop();
    }
    await one.pass({ services: [] });
  });
}

/**
 * What a master serves while it leads: the state of one term, read when the term begins and dropped when it ends, with
 * its trust, its part in gossip and its applications. Nothing of it outlives the term, so there is nothing to be reconciled.
 */

import type { Term } from "../../io/ports.ts";
import { addressText } from "../gossip/gossip-node.ts";
import { createMasterApp } from "./app.ts";
import { Book } from "./book.ts";
import { Cluster } from "./cluster.ts";
import { ClusterTrust } from "./cluster-trust.ts";
import { ControlRecords } from "./control-records.ts";
import { loadEffective } from "./effective.ts";
import { gossipSeeds, KeptAddresses } from "./gossip-seeds.ts";
import { MasterGossip } from "./master-gossip.ts";
import { MasterMetrics } from "./metrics.ts";
import type { Arrival, Serving } from "./role.ts";
import type { MasterDeps, MasterOptions } from "./start.ts";

/** @throws Fault corrupt-store, storage, not-leader, port-taken, bad-request, no-rights */
export async function openSession(term: Term, options: MasterOptions, deps: MasterDeps): Promise<Serving> {
  const { log, clock, disk, store, udp, random, onBug } = deps;
  const book = await Book.open(term, clock);
  const secrets = deps.secrets(book.get("epochs") === undefined);
  const records = new ControlRecords(book, secrets.storeKey);
  const effective = loadEffective(options, records, store !== undefined);
  const agents = records.agents();
  const metrics = new MasterMetrics();
  const trust = new ClusterTrust({ records, clock, log, secrets });
  const kept = new KeptAddresses(records);
  const gossip = await MasterGossip.open(options.gossip, {
    trust,
    udp,
    clock,
    random,
    store: disk.gossip,
    log,
    seeds: gossipSeeds(records, options.gossip),
    // One master's own disk remembers where its agents are.
    ...(store !== undefined && { onAddress: (address, isAlive) => kept.heard(address, isAlive) }),
    onAgent: (agentId) => cluster.presenceChanged(agentId),
  });
  try {
    await book.durable();
  } catch (thrown) {
    await gossip.close();
    throw thrown;
  }
  const cluster: Cluster = new Cluster(
    effective,
    { records: agents, resting: records.resting() },
    {
      book,
      records,
      clock,
      log,
      metrics,
      trust,
      presence: gossip,
      version: options.version,
    },
  );
  const leader = store === undefined ? undefined : { ...options.self, term: term.number };
  const appDeps = {
    cluster,
    gossip,
    clock,
    metrics,
    version: options.version,
    ...(leader && { leader }),
    warnings: options.warnings,
    onBug,
  };
  const [here, afar] = [true, false].map((local) => createMasterApp({ ...appDeps, local }));
  gossip.start();
  for (const reason of effective.settings.refused) log.error({ reason }, "change of the configuration refused");
  const { local } = gossip.member.transport;
  log.info(
    { term: term.number, revision: book.revision, agents: agents.length, gossip: addressText(local) },
    "cluster is served",
  );
  return {
    lost: book.lost,
    fetch: (request, { local: isLocal, hasCertificate }: Arrival) =>
      (isLocal ? here : afar)?.fetch(request, { hasCertificate }) as Promise<Response>,
    close: async () => {
      cluster.close();
      await gossip.close();
    },
  };
}

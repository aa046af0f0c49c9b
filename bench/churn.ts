/**
 * Ten thousand agents that come, lease five addresses each, and leave for good, a hundred of them at any time: how long all
 * of it takes with each of the stores, and whether anything ever had two holders.
 *
 * One process on one thread is the master and all agents. Calls are real ones (challenge, signature, token, sealed answer;
 * removal as by the socket) and go to the master's own application, without a socket between. Leases are taken by the
 * agent's own book, on a store in memory: ten thousand hosts have ten thousand disks, and this machine has one.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LeaseBook } from "../src/app/agent/lease-book.ts";
import type { Serving } from "../src/app/master/role.ts";
import { openSession } from "../src/app/master/session.ts";
import { parseClusterConfig } from "../src/core/config/cluster-config.ts";
import { openAdmission } from "../src/io/admission-answer.ts";
import { SYSTEM_CLOCK } from "../src/io/clock.ts";
import { proveCall } from "../src/io/crypto/call-keys.ts";
import { newAgreement, verifySignature } from "../src/io/crypto/keys.ts";
import { SILENT_LOG } from "../src/io/log.ts";
import type { ChallengeMessage } from "../src/io/messages.ts";
import type { ControlStore, MasterDisk } from "../src/io/ports.ts";
import { SYSTEM_RANDOM } from "../src/io/random.ts";
import { openEtcdControlStore } from "../src/io/store/etcd/etcd-control-store.ts";
import { openMemoryAgentStore } from "../src/io/store/memory-store.ts";
import { openMasterDisk } from "../src/io/store/sqlite-control-store.ts";
import { SYSTEM_UDP } from "../src/io/udp.ts";
import { addressesOf } from "../src/model/attachment.ts";
import type { Assignment } from "../src/model/cluster.ts";
import { assert } from "../src/model/fault.ts";
import { ip } from "../src/model/ip.ts";
import { prefixesOf } from "../src/model/network.ts";
import { fromText, toText } from "../src/model/trust/bytes.ts";
import { formatProof, PROOF_HEADER } from "../src/model/trust/call-proof.ts";
import { TestEtcd } from "../test/support/etcd.ts";
import { newSigner, testSecrets } from "../test/support/trust.ts";
import { atEnd, bench } from "./figures.ts";
import { CONFIG, registrant } from "./filled-store.ts";

const AGENTS = 10_000;
const AGENTS_QUICK = 1_000;
const AT_ONCE = 100;
const LEASES = 5;
/** The default of 2 GB is for those who compact. */
const QUOTA = 8 * 2 ** 30;

/** Who holds what, across all agents. */
class Holders {
  readonly #by = new Map<string, string>();
  duplicates = 0;

  take(what: string, who: string): void {
    const other = this.#by.get(what);
    if (other !== undefined && other !== who) this.duplicates += 1;
    this.#by.set(what, who);
  }

  give(whats: readonly string[]): void {
    for (const what of whats) this.#by.delete(what);
  }
}

class Master {
  readonly #serving: Serving;
  readonly #secrets: ReturnType<typeof testSecrets>;

  constructor(serving: Serving, secrets: ReturnType<typeof testSecrets>) {
    this.#serving = serving;
    this.#secrets = secrets;
  }

  static async open(disk: MasterDisk, store: ControlStore | undefined): Promise<Master> {
    const secrets = testSecrets();
    const self = { id: "master", url: "http://127.0.0.1:5050" };
    const term = await (store ?? disk.control).lead(self, new AbortController().signal);
    const gossip = { ip: ip("127.0.0.1"), port: 0 };
    const options = { ...parseClusterConfig(CONFIG), listen: "", socket: "", gossip, self, version: "0" };
    const serving = await openSession(term, options, {
      disk,
      ...(store && { store }),
      clock: SYSTEM_CLOCK,
      random: SYSTEM_RANDOM,
      udp: SYSTEM_UDP,
      log: SILENT_LOG,
      secrets: () => secrets,
      onBug: (thrown) => {
        throw thrown;
      },
    });
    return new Master(serving, secrets);
  }

  async register(n: number): Promise<Assignment> {
    const body = registrant(n);
    const agreement = newAgreement();
    const prover = { signer: newSigner(), token: this.#secrets.token };
    const message = (await (await this.#call("POST", "/v1/challenge", false)).json()) as ChallengeMessage;
    const challenge = { nonce: bytes(message.nonce), ephemeral: bytes(message.ephemeral) };
    const text = JSON.stringify(body);
    const call = { method: "POST", path: "/v1/agents/register", body: Buffer.from(text) };
    const proof = proveCall(call, challenge, { ...prover, ephemeral: agreement.publicKey });
    const headers = { [PROOF_HEADER]: formatProof(proof) };
    const answer = await this.#call("POST", call.path, false, text, headers);
    assert(answer.ok, `agent ${n} is let in: ${answer.ok ? "" : await answer.text()}`);
    const expected = {
      agentId: body.agentId,
      agreement,
      token: prover.token,
      clusterKey: undefined,
      verify: verifyOnce,
    };
    return openAdmission(await answer.json(), { call, challenge, proof, headers }, expected).assignment;
  }

  async remove(n: number): Promise<void> {
    const answer = await this.#call("DELETE", `/v1/agents/${registrant(n).agentId}`, true);
    assert(answer.ok, `agent ${n} is removed: ${answer.ok ? "" : await answer.text()}`);
  }

  async agents(): Promise<number> {
    const answer = await this.#call("GET", "/v1/agents", false);
    return ((await answer.json()) as { agents: unknown[] }).agents.length;
  }

  close(): Promise<void> {
    return this.#serving.close();
  }

  async #call(method: string, path: string, local: boolean, body?: string, headers = {}): Promise<Response> {
    const request = new Request(`http://master${path}`, {
      method,
      ...(body !== undefined && { body }),
      headers: { ...headers, "content-type": "application/json", "content-length": String(body?.length ?? 0) },
    });
    return this.#serving.fetch(request, { local, hasCertificate: false });
  }
}

const verified = new Set<string>();

/** A new agent checks hundreds of removals, each on a host of its own; here all of them are one thread. */
function verifyOnce(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  const what = toText(signature);
  if (verified.has(what)) return true;
  const isGood = verifySignature(publicKey, message, signature);
  if (isGood) verified.add(what);
  return isGood;
}

function bytes(text: string): Uint8Array {
  const found = fromText(text);
  assert(found !== undefined, "the challenge is one");
  return found;
}

/** The life of one host. */
async function live(master: Master, n: number, holders: Holders): Promise<number> {
  const assignment = await master.register(n);
  const { id, backend, overlays } = assignment.agent;
  const held: string[] = [backend.vtepIp, backend.vtepMac, ...overlays.flatMap((overlay) => prefixesOf(overlay))];
  const book = new LeaseBook(openMemoryAgentStore(), SYSTEM_CLOCK);
  for (let k = 0; k < LEASES; k += 1) {
    const who = {
      containerId: `${id}-${k}`,
      ifname: "eth0",
      network: "dcos",
      netns: `/run/netns/${k}`,
      netnsId: `${k}`,
      requestId: "",
      runtime: "bench",
      since: SYSTEM_CLOCK.date(),
    };
    held.push(...addressesOf(book.openAlone({ who, ips: [], extras: {} }, assignment)));
  }
  for (const each of held) holders.take(each, id);
  // All others of the hundred live meanwhile.
  await new Promise(setImmediate);
  // The subnet is another's as soon as the removal is decided, so what is held is given up before, as by a host that ends.
  holders.give(held);
  await master.remove(n);
  return LEASES;
}

async function churn(store: ControlStore | undefined, count: number): Promise<{ ms: number; duplicates: number }> {
  const dir = mkdtempSync(join(tmpdir(), "weft-bench-churn-"));
  const discard = () => rmSync(dir, { recursive: true, force: true });
  atEnd(discard);
  const disk = openMasterDisk(dir);
  const master = await Master.open(disk, store);
  try {
    const holders = new Holders();
    const waiting = Array.from({ length: count }, (_, n) => n).values();
    let leases = 0;
    const lane = async () => {
      for (const n of waiting) {
        const taken = await live(master, n, holders);
        leases += taken;
      }
    };
    const start = performance.now();
    await Promise.all(Array.from({ length: AT_ONCE }, lane));
    const ms = performance.now() - start;
    assert(leases === count * LEASES, "every agent had its leases");
    assert((await master.agents()) === 0, "nobody is left");
    return { ms, duplicates: holders.duplicates };
  } finally {
    await master.close();
    disk.close();
    discard();
  }
}

async function churnOnEtcd(count: number): Promise<{ ms: number; duplicates: number }> {
  const etcd = await TestEtcd.start({ args: ["--quota-backend-bytes", String(QUOTA)] });
  atEnd(() => void etcd.stop());
  const endpoints = etcd.members.map(({ clientPort }) => ({ host: "127.0.0.1", port: clientPort }));
  const store = openEtcdControlStore({ endpoints });
  try {
    return await churn(store, count);
  } finally {
    await store.close();
    await etcd.stop();
  }
}

await bench(
  "churn",
  async ({ quick, figure, number }) => {
    const count = number("agents", quick ? AGENTS_QUICK : AGENTS);
    const sqlite = await churn(undefined, count);
    figure({ figure: "sqlite.total", unit: "s", ours: sqlite.ms / 1_000, peer: null, target: "ours<=90" });
    const etcd = await churnOnEtcd(count);
    figure({ figure: "etcd.total", unit: "s", ours: etcd.ms / 1_000, peer: null, target: "ours<=90" });
    const duplicates = sqlite.duplicates + etcd.duplicates;
    figure({ figure: "duplicates", unit: "holdings", ours: duplicates, peer: null, target: "ours<=0" });
  },
  ["agents"],
);

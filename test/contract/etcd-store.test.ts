/** What only etcd can do to the control plane: be cut off, be full, forget its history, ask for a password. */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { type TestContext, test } from "node:test";
import { type EtcdStoreOptions, openEtcdControlStore } from "../../src/io/store/etcd/etcd-control-store.ts";
import { parseEtcdUrl } from "../../src/io/store/etcd/etcd-url.ts";
import { Fault } from "../../src/model/fault.ts";
import { authority, certificatesProblem } from "../support/certificates.ts";
import { type EtcdOptions, etcdProblem, freePorts, pause, TestEtcd } from "../support/etcd.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { event, master } from "./control-store-contract.ts";

const NEVER = new AbortController().signal;
const options = { skip: etcdProblem() ?? false, timeout: 60_000 };
const base64 = (text: string) => Buffer.from(text).toString("base64");
const ALIVE = async () => true;
const DEAD = async () => false;

/** What is to be closed when a test ends, the last one first: a store gives back its lease to an etcd that runs. */
const closers = new WeakMap<TestContext, (() => unknown)[]>();

function atEnd(t: TestContext, close: () => unknown): void {
  const known = closers.get(t);
  if (known !== undefined) {
    known.push(close);
    return;
  }
  const all = [close];
  closers.set(t, all);
  t.after(async () => {
    for (const each of all.reverse()) await each();
  });
}

async function started(t: TestContext, more: EtcdOptions = { members: 1 }): Promise<TestEtcd> {
  const etcd = await TestEtcd.start(more);
  atEnd(t, () => etcd.stop());
  return etcd;
}

function opened(t: TestContext, endpoints: readonly string[], more: Partial<EtcdStoreOptions> = {}) {
  const store = openEtcdControlStore({ ...parseEtcdUrl(`etcd://${endpoints.join(",")}`), probe: ALIVE, ...more });
  atEnd(t, () => store.close());
  return store;
}

async function proxied(t: TestContext, etcd: TestEtcd): Promise<TcpProxy[]> {
  const proxies = await Promise.all(etcd.members.map(({ clientPort }) => TcpProxy.to(clientPort)));
  atEnd(t, () => Promise.all(proxies.map((proxy) => proxy.close())));
  return proxies;
}

const endpointsOf = (proxies: readonly TcpProxy[]) => proxies.map(({ endpoint }) => endpoint);

async function faultOf(call: Promise<unknown>): Promise<Fault> {
  const thrown = await call.then(
    () => assert.fail("not refused"),
    (error: unknown) => error,
  );
  assert.ok(thrown instanceof Fault, String(thrown));
  return thrown;
}

for (const isDeposed of [false, true])
  test(
    `a write that was held up on its way lands late ${isDeposed ? "never, once another one leads" : "while its term lasts"}`,
    options,
    async (t) => {
      const etcd = await started(t);
      const proxies = await proxied(t, etcd);
      const term = await opened(t, endpointsOf(proxies)).lead(master(1), NEVER);
      await term.append([event(1, { key: "a", after: 1 })]);
      for (const proxy of proxies) proxy.cut();
      const writing = term.append([event(2, { key: "a", before: 1, after: "late" })]);
      writing.catch(() => undefined);
      const other = opened(t, etcd.endpoints, { probe: DEAD });
      const next = isDeposed ? await other.lead(master(2), NEVER) : undefined;
      for (const proxy of proxies) proxy.mend();
      if (next === undefined) await writing;
      else assert.equal((await faultOf(writing)).code, "not-leader");
      // All that was held up has arrived by now: the same connections answer again.
      assert.equal((await (next ?? term).load()).revision, isDeposed ? 1 : 2);
      if (next !== undefined) {
        await next.append([event(2, { key: "a", before: 1, after: "next" })]);
        assert.equal((await next.load()).entries.get("a"), "next");
      }
    },
  );

test("a write whose answer is lost is done once, and acknowledged", options, async (t) => {
  const etcd = await started(t, { members: 3 });
  const proxies = await proxied(t, etcd);
  const term = await opened(t, endpointsOf(proxies)).lead(master(1), NEVER);
  for (let revision = 1; revision <= 3; revision += 1) {
    proxies[revision - 1]?.loseAnswers();
    await term.append([event(revision, { key: "a", after: revision })]);
    for (const proxy of proxies) proxy.mend();
  }
  assert.deepEqual(
    (await term.events(0, 10)).map(({ revision }) => revision),
    [1, 2, 3],
  );
});

test(
  "a leader that is cut off for longer than its lease hears that it lost, and nothing else is written",
  options,
  async (t) => {
    const etcd = await started(t);
    const proxies = await proxied(t, etcd);
    const term = await opened(t, endpointsOf(proxies)).lead(master(1), NEVER);
    await term.append([event(1, { key: "a", after: 1 })]);
    const other = opened(t, etcd.endpoints);
    for (const proxy of proxies) proxy.cut();
    const writing = faultOf(term.append([event(2, { key: "a", before: 1, after: 2 })]));
    const next = await other.lead(master(2), NEVER);
    assert.equal((await term.lost).code, "storage");
    assert.ok(["storage", "not-leader"].includes((await writing).code));
    for (const proxy of proxies) proxy.mend();
    const { revision } = await next.load();
    assert.equal((await faultOf(term.append([event(revision + 1, { key: "a", after: 3 })]))).code, "not-leader");
    assert.equal((await next.load()).revision, revision);
  },
);

test("a full etcd refuses with the remedy, loses nothing, and goes on when it has room again", options, async (t) => {
  const etcd = await started(t, { members: 1, args: ["--quota-backend-bytes", String(4 << 20)] });
  const term = await opened(t, etcd.endpoints).lead(master(1), NEVER);
  let head = 0;
  const fill = async () => {
    for (; head < 100; head += 1)
      await term.append([event(head + 1, { key: "large", after: `${head}`.padEnd(200_000) })]);
  };
  const fault = await faultOf(fill());
  assert.equal(fault.code, "storage");
  assert.match(fault.message, /--quota-backend-bytes.*compact.*alarm disarm/);
  const { revision, entries } = await term.load();
  assert.deepEqual([revision, entries.get("large")], [head, `${head - 1}`.padEnd(200_000)]);
  // To delete is allowed, and makes the room.
  await term.forget(head);
  const { header } = (await etcd.call("/v3/kv/range", { key: base64("x") })) as { header: { revision: string } };
  await etcd.call("/v3/kv/compaction", { revision: header.revision, physical: true });
  await etcd.call("/v3/maintenance/defragment");
  const { alarms } = (await etcd.call("/v3/maintenance/alarm", { action: "GET" })) as {
    alarms: { memberID: string }[];
  };
  for (const { memberID } of alarms)
    await etcd.call("/v3/maintenance/alarm", { action: "DEACTIVATE", alarm: "NOSPACE", memberID });
  await term.append([event(head + 1, { key: "large", after: "small" })]);
  assert.equal((await term.load()).entries.get("large"), "small");
});

test(
  "the watch on the leader outlives a compaction that it slept through, and the loss of its member",
  options,
  async (t) => {
    const etcd = await started(t, { members: 3 });
    const proxies = await proxied(t, etcd);
    const standby = opened(t, endpointsOf(proxies));
    const put = { key: base64("/weft/v1/leader") };
    // Without its leader etcd refuses for a while.
    const leads = async (n: number, member = etcd.members[0]): Promise<Record<string, unknown>> =>
      etcd
        .call("/v3/kv/put", { ...put, value: base64(JSON.stringify(master(n))) }, member)
        .catch(() => leads(n, member));
    const hears = async (n: number) => {
      while (standby.leader()?.id !== `master-${n}`) await pause(10);
    };
    await leads(1);
    const ending = new AbortController();
    const waiting = faultOf(standby.lead(master(9), ending.signal));
    await hears(1);
    for (const proxy of proxies) proxy.cut();
    await leads(2);
    const { header } = (await leads(3)) as { header: { revision: string } };
    await etcd.call("/v3/kv/compaction", { revision: header.revision, physical: true });
    for (const proxy of proxies) proxy.mend();
    await hears(3);
    for (const [index, member] of etcd.members.entries()) {
      await member.kill();
      await leads(4 + index, etcd.members[(index + 1) % etcd.members.length]);
      await hears(4 + index);
      member.start();
      await etcd.ready(member);
    }
    ending.abort();
    assert.equal((await waiting).code, "not-leader");
  },
);

test("a leader that gives no sign of life is followed long before its lease runs out", options, async (t) => {
  const etcd = await started(t);
  const [port = 0] = await freePorts(1);
  const self = { id: "master-1", url: `http://127.0.0.1:${port}` };
  let probes = 0;
  const health = createServer((_, answer) => {
    probes += 1;
    answer.end(JSON.stringify({ role: "leader", id: self.id }));
  });
  health.listen(port, "127.0.0.1");
  t.after(() => health.close());
  const term = await opened(t, etcd.endpoints).lead(self, NEVER);
  const standby = openEtcdControlStore(parseEtcdUrl(`etcd://${etcd.endpoints.join(",")}`));
  atEnd(t, () => standby.close());
  const waiting = standby.lead(master(2), NEVER);
  while (probes < 6) await pause(20);
  await term.append([event(1, { key: "a", after: 1 })]);
  health.close();
  health.closeAllConnections();
  const began = performance.now();
  const next = await waiting;
  const took = performance.now() - began;
  t.diagnostic(`took over after ${Math.round(took)} ms`);
  assert.ok(took < 3_000, `${took} ms`);
  await next.append([event(2, { key: "a", before: 1, after: 2 })]);
});

test(
  "users and passwords: the right one is let in, also when its token has ended; others are refused",
  options,
  async (t) => {
    const etcd = await started(t, { members: 1, args: ["--auth-token-ttl", "1"] });
    await etcd.call("/v3/auth/user/add", { name: "root", password: "r" });
    await etcd.call("/v3/auth/user/grant", { user: "root", role: "root" });
    await etcd.call("/v3/auth/role/add", { name: "weft" });
    const perm = { permType: "READWRITE", key: base64("/weft/"), range_end: base64("/weft0") };
    await etcd.call("/v3/auth/role/grant", { name: "weft", perm });
    await etcd.call("/v3/auth/user/add", { name: "master", password: "m" });
    await etcd.call("/v3/auth/user/grant", { user: "master", role: "weft" });
    const credentials = { user: "master", password: "m" };
    const early = await opened(t, etcd.endpoints, { credentials, prefix: "/weft/early" }).lead(master(1), NEVER);
    await etcd.call("/v3/auth/enable");
    const term = await opened(t, etcd.endpoints, { credentials }).lead(master(1), NEVER);
    await term.append([event(1, { key: "a", after: 1 })]);
    await pause(2_500);
    await term.append([event(2, { key: "a", before: 1, after: 2 })]);
    await early.append([event(1, { key: "a", after: 1 })]);
    for (const wrong of [undefined, { user: "master", password: "wrong" }, { user: "nobody", password: "m" }]) {
      const other = opened(t, etcd.endpoints, wrong === undefined ? {} : { credentials: wrong });
      const fault = await faultOf(other.lead(master(2), NEVER));
      assert.equal(fault.code, "unauthorized");
      assert.match(fault.message, /--store-password-file/);
    }
    const elsewhere = opened(t, etcd.endpoints, { credentials, prefix: "/other" });
    assert.equal((await faultOf(elsewhere.lead(master(2), NEVER))).code, "unauthorized");
  },
);

test("TLS: the authority's etcd is spoken to, another one's is not", {
  ...options,
  skip: options.skip || (certificatesProblem() ?? false),
}, async (t) => {
  const ours = authority(t, "ours");
  const etcd = await started(t, { members: 1, tls: ours.issue("etcd") });
  const term = await opened(t, etcd.endpoints, { tls: { ca: ours.cert } }).lead(master(1), NEVER);
  await term.append([event(1, { key: "a", after: 1 })]);
  const stranger = async (tls: { ca: string } | undefined) => {
    const troubles: Fault[] = [];
    const ending = new AbortController();
    const onTrouble = (fault: Fault) => {
      troubles.push(fault);
      ending.abort();
    };
    const other = opened(t, etcd.endpoints, { onTrouble, ...(tls && { tls }) });
    await faultOf(other.lead(master(2), ending.signal));
    assert.equal(troubles[0]?.code, "storage");
  };
  await Promise.all([stranger({ ca: authority(t, "theirs").cert }), stranger(undefined)]);
});

test("what another version or another program wrote is left alone", options, async (t) => {
  const etcd = await started(t);
  const put = (key: string, value: string) => etcd.call("/v3/kv/put", { key: base64(key), value: base64(value) });
  for (const version of ["v2", "v10", "v0"]) {
    await put(`/${version}/${version}/revision`, "7");
    const fault = await faultOf(opened(t, etcd.endpoints, { prefix: `/${version}` }).lead(master(1), NEVER));
    assert.equal(fault.code, "unsupported-version");
  }
  const cases = { leader: "{", revision: "x", "entry/a": "{", "event/0000000000000001": "[]" };
  for (const [key, value] of Object.entries(cases)) {
    const prefix = `/corrupt-${key.slice(0, 3)}`;
    await put(`${prefix}/v1/${key}`, value);
    const store = opened(t, etcd.endpoints, { prefix });
    const read = async () => {
      const term = await store.lead(master(1), NEVER);
      await term.load();
      await term.events(0, 10);
    };
    const fault = await faultOf(read());
    assert.deepEqual([fault.code, fault.facts.key], ["corrupt-store", `${prefix}/v1/${key}`]);
  }
});

test("10,000 entries are read within moments", options, async (t) => {
  const etcd = await started(t, { members: 3 });
  const term = await opened(t, etcd.endpoints).lead(master(1), NEVER);
  const value = { text: "x".repeat(2_000) };
  for (let n = 0; n < 100; n += 1)
    await term.append([
      event(n + 1, ...Array.from({ length: 100 }, (_, at) => ({ key: `agent/${n * 100 + at}`, after: value }))),
    ]);
  const began = performance.now();
  const { entries } = await term.load();
  const took = performance.now() - began;
  t.diagnostic(`read in ${Math.round(took)} ms`);
  assert.equal(entries.size, 10_000);
  assert.ok(took < 5_000, `${took} ms`);
});

/**
 * A program for test/e2e/etcd-chaos.test.ts: a master that allocates numbers without pause while it leads, the lowest free
 * one each time, and writes down each one that was acknowledged, before it goes on.
 *
 * Arguments: URL of the store, its own id, its own port for /healthz, the file of what was acknowledged.
 */
import { appendFileSync } from "node:fs";
import { createServer } from "node:http";
import type { Term } from "../../src/io/ports.ts";
import { openEtcdControlStore } from "../../src/io/store/etcd/etcd-control-store.ts";
import { parseEtcdUrl } from "../../src/io/store/etcd/etcd-url.ts";
import type { ControlEvent } from "../../src/model/control-event.ts";
import { Fault } from "../../src/model/fault.ts";

const [url = "", id = "", port = "", file = ""] = process.argv.slice(2);
const AT_ONCE_MAX = 4;
/** Of each five allocations one is given back. */
const RELEASE_EVERY = 5;

let role = "standby";
const server = createServer((_, response) => response.end(JSON.stringify({ role, id })));
server.listen(Number(port), "127.0.0.1");

const { endpoints, prefix } = parseEtcdUrl(url);
const store = openEtcdControlStore({ endpoints, prefix });
const self = { id, url: `http://127.0.0.1:${port}` };

async function allocate(term: Term): Promise<never> {
  const { revision, entries } = await term.load();
  const held = new Set([...entries.keys()].map((key) => Number(key.slice("number/".length))));
  for (let next = revision + 1; ; ) {
    const events: ControlEvent[] = [];
    const lines: string[] = [];
    for (const count = 1 + (next % AT_ONCE_MAX); events.length < count; next += 1) {
      const who = `${id} term ${term.number}`;
      if (next % RELEASE_EVERY === 0 && held.size > 0) {
        const [given] = held;
        held.delete(given ?? 0);
        events.push(make(next, who, `release ${given}`, { key: `number/${given}`, before: true }));
      } else {
        let lowest = 1;
        while (held.has(lowest)) lowest += 1;
        held.add(lowest);
        events.push(make(next, who, `allocate ${lowest}`, { key: `number/${lowest}`, after: true }));
      }
      lines.push(`${next} ${term.number} ${events.at(-1)?.what}\n`);
    }
    await term.append(events);
    appendFileSync(file, lines.join(""));
  }
}

function make(revision: number, who: string, what: string, change: ControlEvent["changes"][number]): ControlEvent {
  return { revision, at: "2026-01-02T03:04:05Z", who, what, changes: [change] };
}

for (;;) {
  const term = await store.lead(self, new AbortController().signal);
  role = "leader";
  try {
    await Promise.race([allocate(term), term.lost.then((fault) => Promise.reject(fault))]);
  } catch (thrown) {
    if (!(thrown instanceof Fault)) throw thrown;
    console.log(`${id} term ${term.number}: ${thrown.code} ${thrown.message}`);
    // What is not known to be written is seen by who leads next; it may be this one.
    await term.resign();
  }
  role = "standby";
}

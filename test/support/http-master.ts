/**
 * A master in this process that serves real HTTP on loopback, with a store in memory; and somebody on the path to it who
 * sees and may change everything. Both are gone with the test.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { startMaster } from "../../src/app/master/start.ts";
import { parseClusterConfig } from "../../src/core/config/cluster-config.ts";
import { SYSTEM_CLOCK } from "../../src/io/clock.ts";
import type { TlsServer } from "../../src/io/http-server.ts";
import { createLog } from "../../src/io/log.ts";
import type { UdpAddress } from "../../src/io/ports.ts";
import { SYSTEM_RANDOM } from "../../src/io/random.ts";
import { openMemoryMasterDisk } from "../../src/io/store/memory-store.ts";
import { SYSTEM_UDP } from "../../src/io/udp.ts";
import { ip } from "../../src/model/ip.ts";
import { standIn } from "./http-stand-in.ts";
import { type TestSecrets, testSecrets } from "./trust.ts";

export interface HttpMaster {
  readonly url: string;
  /** `unix:PATH`. */
  readonly socket: string;
  readonly secrets: TestSecrets;
  /** All that it logged, at the level `debug`. */
  readonly log: string[];
}

const LOOPBACK: UdpAddress = { ip: ip("127.0.0.1"), port: 0 };

export async function httpMaster(t: TestContext, tls?: TlsServer): Promise<HttpMaster> {
  const folder = mkdtempSync(join(tmpdir(), "weft-http-master-"));
  const secrets = testSecrets();
  const lines: string[] = [];
  const log = createLog("debug", "json", { write: (line) => lines.push(line) });
  const socket = join(folder, "master.sock");
  const parsed = parseClusterConfig("");
  const master = await startMaster(
    {
      ...parsed,
      listen: "127.0.0.1:0",
      socket,
      gossip: LOOPBACK,
      self: { id: "master", url: "" },
      version: "0",
      ...(tls && { tls }),
    },
    {
      disk: openMemoryMasterDisk(),
      clock: SYSTEM_CLOCK,
      random: SYSTEM_RANDOM,
      udp: SYSTEM_UDP,
      log,
      secrets: () => secrets,
      onBug: (thrown) => t.diagnostic(String(thrown)),
    },
  );
  t.after(async () => {
    await master.close();
    rmSync(folder, { recursive: true });
  });
  return { url: `${tls ? "https" : "http"}://${master.address}`, socket: `unix:${socket}`, secrets, log: lines };
}

/** One exchange as it passes by. */
export interface Passing {
  readonly path: string;
  headers: Record<string, string>;
  body: string;
  answer: string;
}

export interface Eavesdropper {
  readonly url: string;
  /** Every byte of every request and answer that passed, one piece each. */
  readonly seen: string[];
  /** May change what is asked, and what is answered. */
  onRequest: (passing: Passing) => void;
  onAnswer: (passing: Passing) => void;
}

export async function eavesdropper(t: TestContext, master: string): Promise<Eavesdropper> {
  const url = await standIn(t, async (request, response) => {
    const body = Buffer.concat(await request.toArray()).toString();
    const headers = Object.fromEntries(
      Object.entries(request.headers).flatMap(([name, value]) => (typeof value === "string" ? [[name, value]] : [])),
    );
    const passing: Passing = { path: request.url ?? "", headers, body, answer: "" };
    self.onRequest(passing);
    self.seen.push(`${request.method} ${passing.path}\n${JSON.stringify(headers)}\n${passing.body}`);
    const { connection: _, host: __, "content-length": ___, ...rest } = passing.headers;
    const answer = await fetch(master + passing.path, { method: "POST", headers: rest, body: passing.body });
    passing.answer = await answer.text();
    self.seen.push(`${JSON.stringify([...answer.headers])}\n${passing.answer}`);
    self.onAnswer(passing);
    response.writeHead(answer.status, { "content-type": "application/json" }).end(passing.answer);
  });
  const self: Eavesdropper = { url, seen: [], onRequest: () => {}, onAnswer: () => {} };
  return self;
}

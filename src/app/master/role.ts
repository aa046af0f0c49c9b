/**
 * A master among several: it leads, or it stands by. Who leads serves; a standby hands calls on to the leader, as they are,
 * and adds nothing of its own: what a call proves (its signature, its token) it proves to the leader, and nothing else about
 * it counts there. So a standby can lend nobody more rights than a stranger's, neither by its own socket nor by a
 * certificate that it has checked; calls that would need those are answered with where to make them.
 *
 * One hop only: two masters that each take the other for the leader do not send a call round and round.
 */
import type { Connection, Fetch } from "../../io/http-server.ts";
import type { Log } from "../../io/log.ts";
import type { TlsClient } from "../../io/master-call.ts";
import type { ControlStore, MasterAddress, Term } from "../../io/ports.ts";
import { Fault, type FaultCode } from "../../model/fault.ts";
import { FAULT_TABLE, faultBody, parseFaultBody } from "../../model/fault-table.ts";
import { FORWARDED_HEADER, forward } from "./forward.ts";

/** What is known of who calls, and whether it came by this master's own socket. */
export interface Arrival extends Connection {
  readonly local: boolean;
}

/** What a master serves while it leads. */
export interface Serving {
  fetch(request: Request, arrival: Arrival): Response | Promise<Response>;
  /** Resolves when what is served is not what is stored any more: the state is read again, here or elsewhere. */
  readonly lost?: Promise<Fault>;
  close(): Promise<void>;
}

export interface MasterRoleOptions {
  readonly store: ControlStore;
  readonly self: MasterAddress;
  /** Reads the state and makes ready to serve it. What it throws ends `run`, unless the term is over. */
  readonly serve: (term: Term) => Promise<Serving>;
  /** What each master answers for itself whatever its role (`/metrics`); `undefined`: not this. */
  readonly own?: (request: Request, arrival: Arrival) => Response | Promise<Response> | undefined;
  /** For a leader at an https:// address: the authority that signed its certificate. A certificate of our own is never shown. */
  readonly tls?: Pick<TlsClient, "ca">;
  readonly log: Log;
}

export type Role = "leader" | "standby";

/** Why a term ended; without a reason the signal did it. */
type Over = Promise<{ readonly reason: Fault | undefined }>;

/** A store that refuses to be written is not read again and again at once, ms. */
const SERVE_AGAIN_MS = 1_000;

/** Refusals that a call might not get where its socket or its certificate counts. */
const OF_THE_WAY: readonly FaultCode[] = ["forbidden", "not-admitted", "unauthorized"];

export class MasterRole {
  readonly #options: MasterRoleOptions;
  #term: Term | undefined;
  #serving: Serving | undefined;
  readonly #ready = Promise.withResolvers<void>();

  constructor(options: MasterRoleOptions) {
    this.#options = options;
  }

  /** Resolves when this master has something to serve for the first time. */
  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  get role(): Role {
    return this.#term === undefined ? "standby" : "leader";
  }

  /** Who leads, this one included, as far as is known here. */
  get leader(): MasterAddress | undefined {
    const { store, self } = this.#options;
    if (this.#term !== undefined) return self;
    const found = store.leader();
    // A term of ours that is over, and that nobody followed yet.
    return found?.id === self.id ? undefined : found;
  }

  /** The listener of this master's own socket (`local`) or of its TCP address. */
  listener(local: boolean): Fetch {
    return (request, { hasCertificate }) => this.fetch(request, { hasCertificate, local });
  }

  async fetch(request: Request, arrival: Arrival): Promise<Response> {
    const { pathname } = new URL(request.url);
    if (pathname === "/healthz") return this.#health();
    const own = this.#options.own?.(request, arrival);
    if (own !== undefined) return own;
    try {
      if (this.#serving !== undefined) return await this.#serving.fetch(request, arrival);
      if (this.#term !== undefined)
        throw new Fault("not-ready", "this master has just begun to lead and reads the cluster's state; try again");
      return await this.#handOn(request, arrival);
    } catch (thrown) {
      if (thrown instanceof Fault) return answerOf(thrown);
      throw thrown;
    }
  }

  /**
   * Leads whenever it can, until the signal; then lets another one lead.
   * @throws Fault what `ControlStore.lead` and `serve` throw
   */
  async run(signal: AbortSignal): Promise<void> {
    const { store, self, log } = this.#options;
    while (!signal.aborted) {
      let term: Term;
      try {
        term = await store.lead(self, signal);
      } catch (thrown) {
        if (signal.aborted) return;
        throw thrown;
      }
      log.info({ term: term.number }, "this master leads");
      this.#term = term;
      const reason = await this.#leadOut(term, signal);
      if (reason !== undefined) log.warn({ term: term.number, reason: reason.message }, "this master leads no more");
    }
  }

  /** @returns why the term ended, unless the signal did it */
  async #leadOut(term: Term, signal: AbortSignal): Promise<Fault | undefined> {
    const ended = new AbortController();
    const { promise: aborted, resolve } = Promise.withResolvers<undefined>();
    const stop = () => resolve(undefined);
    signal.addEventListener("abort", stop, { signal: ended.signal });
    if (signal.aborted) stop();
    const over = Promise.race([term.lost, aborted]).then((reason) => ({ reason }));
    try {
      for (;;) {
        const end = await this.#serveOut(term, over);
        if (end !== undefined) return end.reason;
        await Promise.race([over, pause(SERVE_AGAIN_MS)]);
      }
    } finally {
      ended.abort();
      this.#term = undefined;
      await term.resign();
    }
  }

  /** @returns `undefined` when the term goes on, and what was served does not hold any more */
  async #serveOut(term: Term, over: Over): Promise<Awaited<Over> | undefined> {
    const serving = await this.#begin(term, over);
    if (serving === undefined) return over;
    try {
      this.#serving = serving;
      this.#ready.resolve();
      if (serving.lost === undefined) return await over;
      const lost = serving.lost.then(({ code, message }) => {
        this.#options.log.error({ code }, `not written: ${message}`);
        return undefined;
      });
      return await Promise.race([over, lost]);
    } finally {
      this.#serving = undefined;
      await serving.close();
    }
  }

  /** @returns `undefined` when the term was over before anything could be served */
  async #begin(term: Term, over: Over): Promise<Serving | undefined> {
    try {
      return await this.#options.serve(term);
    } catch (thrown) {
      // A state that could not be read because another one leads by now is no failure of this master's.
      const isOver = thrown instanceof Fault && thrown.code === "not-leader";
      if (!isOver && (await Promise.race([over.then(() => true), Promise.resolve(false)])) === false) throw thrown;
      await over;
      return undefined;
    }
  }

  async #handOn(request: Request, arrival: Arrival): Promise<Response> {
    const { leader } = this;
    if (request.headers.has(FORWARDED_HEADER))
      throw new Fault(
        "not-leader",
        `the master ${this.#options.self.url} was taken for the leader, and is not; try again in a moment`,
      );
    if (leader === undefined)
      throw new Fault(
        "not-leader",
        "no master leads at this moment; one does within seconds, if masters run and reach their store: try again",
      );
    const { self, tls } = this.#options;
    const answer = await forward(request, { leader, self, ...(tls && { tls }) });
    return arrival.local || arrival.hasCertificate ? explained(answer, leader) : answer;
  }

  #health(): Response {
    const { leader, role } = this;
    const { id } = this.#options.self;
    return Response.json({ status: "ok", role, id, ...(leader && { leader: leader.url }) });
  }
}

/** A refusal says where the call would count. */
async function explained(answer: Response, leader: MasterAddress): Promise<Response> {
  if (answer.status !== 401 && answer.status !== 403) return answer;
  const text = await answer.text();
  const fault = parseFaultBody(parsed(text));
  if (fault === undefined || !OF_THE_WAY.includes(fault.code))
    return new Response(text, { status: answer.status, headers: answer.headers });
  return answerOf(
    new Fault(
      "not-leader",
      `this master stands by, and its socket and certificates do not count at the leader (${fault.message}); make this ` +
        `call on the host of the leader, ${leader.url}, or with a token`,
      { leader: leader.url, refused: fault.code },
    ),
  );
}

function answerOf(fault: Fault): Response {
  return Response.json(faultBody(fault), { status: FAULT_TABLE[fault.code].http });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}

/**
 * The agent's side of the datapath: how high it may go, what it came to, who talks to whom, and samples of packets while
 * somebody asks for them.
 *
 * Nobody loses a network by it: what the kernel refuses of it is said here, and the kernel carries the packets.
 */
import { type FlowSample, isDatapathOp, type Traffic } from "../../core/host/datapath.ts";
import type { HostState } from "../../core/host/host-state.ts";
import type { OverlayContext } from "../../core/overlay/context.ts";
import { type DatapathLevel, type DatapathReport, datapathReport } from "../../core/overlay/datapath.ts";
import { PrefixIndex } from "../../core/overlay/prefix-index.ts";
import { TrafficBook, type Whereabouts } from "../../core/overlay/traffic-book.ts";
import type { Clock, Kernel, OpFailure } from "../../io/ports.ts";
import { type Attachment, addressesOf } from "../../model/attachment.ts";
import type { Peer } from "../../model/cluster.ts";
import {
  DATAPATH_PAIRS_MAX,
  FLOWS_KEPT_MAX,
  FLOWS_LISTEN_MS,
  TRAFFIC_IDLE_MS,
  TRAFFIC_READ_INTERVAL_MS,
} from "../../model/datapath-limits.ts";
import { Fault } from "../../model/fault.ts";
import { familyOf, hostCidr } from "../../model/ip.ts";

const NOT_YET: DatapathReport = { level: 0, reasons: ["no pass was made yet"], notes: [] };
const REMOVED: DatapathReport = { level: 0, reasons: ["the cluster removed this agent"], notes: [] };

const PAIRS_FULL = `more than ${DATAPATH_PAIRS_MAX} pairs talk: new ones are counted by path, not by container and host`;

export interface DatapathWatchDeps {
  readonly kernel: Kernel;
  readonly clock: Clock;
  readonly maxLevel: DatapathLevel;
  readonly attachments: () => readonly Attachment[];
  readonly peers: () => readonly Peer[];
  /** Makes a pass, because the wishes changed. */
  readonly pass: () => Promise<void>;
}

/** Samples since some place in their row, and the place after them. */
export interface Flows {
  readonly flows: readonly FlowSample[];
  readonly next: number;
}

export class DatapathWatch {
  readonly book = new TrafficBook(TRAFFIC_IDLE_MS);
  readonly #deps: DatapathWatchDeps;
  #arePairsFull = false;
  #desired = NOT_YET;
  #report = NOT_YET;
  #stopReading: (() => void) | undefined;
  /** The last of the readings, which come one after another: one that overlaps counts again what another forgets. */
  #reading: Promise<unknown> = Promise.resolve();
  #isStopped = false;
  #sampleEvery = 0;
  #stopListening: (() => void) | undefined;
  readonly #flows: FlowSample[] = [];
  /** The place of the first of `#flows` among all that there were. */
  #first = 0;

  constructor(deps: DatapathWatchDeps) {
    this.#deps = deps;
  }

  /** For the desired state. */
  get wishes(): NonNullable<OverlayContext["datapath"]> {
    return { maxLevel: this.#deps.maxLevel, sampleEvery: this.#sampleEvery };
  }

  get report(): DatapathReport {
    return this.#arePairsFull ? { ...this.#report, notes: [...this.#report.notes, PAIRS_FULL] } : this.#report;
  }

  /** What the pass is going to make. */
  planned(context: OverlayContext, desired: HostState): void {
    this.#desired = datapathReport(context, desired.datapaths[0]);
  }

  /** The pass is going to take away all that is of the cluster. */
  dismissed(): void {
    this.#desired = REMOVED;
  }

  /** @returns the failures that are not the datapath's */
  passed(failures: readonly OpFailure[]): readonly OpFailure[] {
    const own = failures.filter(({ op }) => isDatapathOp(op));
    const isLost = own.some(({ op }) => op.op === "datapath.replace");
    const messages = own.map(({ error }) => error.message);
    this.#report = isLost
      ? { level: 0, reasons: messages, notes: [] }
      : { ...this.#desired, notes: [...this.#desired.notes, ...messages] };
    if (this.#stopReading === undefined && this.#report.level > 0) this.#readSoon();
    return failures.filter(({ op }) => !isDatapathOp(op));
  }

  /** Reads what was counted, into the book as well; `undefined` at level 0. @throws Fault kernel-refused */
  traffic(): Promise<Traffic | undefined> {
    const reading = this.#reading.then(() => this.#read());
    this.#reading = reading.catch(() => {}); // it is its caller's
    return reading;
  }

  async #read(): Promise<Traffic | undefined> {
    const { attachments, clock, kernel, peers } = this.#deps;
    const traffic = await kernel.traffic();
    if (traffic === undefined) return undefined;
    this.#arePairsFull = ([4, 6] as const).some(
      (family) => traffic.pairs.filter(({ source }) => familyOf(source) === family).length >= DATAPATH_PAIRS_MAX,
    );
    const where: Whereabouts = {
      locals: new Set(attachments().flatMap(addressesOf)),
      nodes: new PrefixIndex(
        peers().flatMap(({ ip, subnets, hosted = [] }) =>
          [...subnets, ...hosted.map(({ address }) => hostCidr(address))].map((prefix) => [prefix, ip] as const),
        ),
      ),
    };
    const idle = this.book.note(traffic, where, clock.now());
    if (idle.length > 0) await kernel.forgetPairs(idle);
    return traffic;
  }

  /**
   * Samples from the place `after` on; packets are sampled from now on, until nobody has asked for a while.
   * @param every of so many packets one
   * @throws Fault not-ready at level 0, kernel-refused
   */
  async flows(every: number, after: number): Promise<Flows> {
    if (this.#report.level === 0)
      throw new Fault("not-ready", `no packets can be sampled: ${this.#report.reasons.join("; ")}`);
    this.#stopListening?.();
    this.#stopListening = this.#deps.clock.after(FLOWS_LISTEN_MS, () => void this.#sample(0));
    // Of several who ask, the one who wants most decides for all.
    if (this.#sampleEvery === 0 || every < this.#sampleEvery) await this.#sample(every);
    this.#flows.push(...(await this.#deps.kernel.samples()));
    const surplus = Math.max(0, this.#flows.length - FLOWS_KEPT_MAX);
    this.#flows.splice(0, surplus);
    this.#first += surplus;
    return { flows: this.#flows.slice(Math.max(0, after - this.#first)), next: this.#first + this.#flows.length };
  }

  /** Programs outlive the agent, and would sample for nobody. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#stopReading?.();
    this.#stopListening?.();
    if (this.#sampleEvery !== 0) await this.#sample(0);
  }

  #sample(every: number): Promise<void> {
    this.#sampleEvery = every;
    return this.#deps.pass();
  }

  /** The silent make room in the map, and what the talking said is in the book before they are silent. */
  #readSoon(): void {
    this.#stopReading = this.#deps.clock.after(TRAFFIC_READ_INTERVAL_MS, () => {
      this.#stopReading = undefined;
      const again = () => {
        if (this.#report.level > 0 && !this.#isStopped) this.#readSoon();
      };
      this.traffic().then(again, (error: unknown) => {
        if (!(error instanceof Fault)) throw error;
        again();
      });
    });
  }
}

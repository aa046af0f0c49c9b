import assert from "node:assert/strict";
import { test } from "node:test";
import { seedAssignment } from "../../../test/support/seed-cluster.ts";
import { membershipFor, newSigner } from "../../../test/support/trust.ts";
import type { Log } from "../../io/log.ts";
import type { Admission, RegisterRequest, StatusReport } from "../../io/ports.ts";
import { SimClock } from "../../io/sim-clock.ts";
import type { Assignment, OverlayStatus, ReportAnswer } from "../../model/cluster.ts";
import { Fault } from "../../model/fault.ts";
import { cidr, ip } from "../../model/ip.ts";
import { REGISTRATION_IDENTITY_GRACE_MS, STATUS_REPORT_RETRY_MS } from "../../model/limits.ts";
import { AgentMetrics } from "./metrics.ts";
import { Session } from "./session.ts";

const REQUEST: RegisterRequest = {
  agentId: "agent-1",
  instanceId: "instance-1",
  ip: ip("10.0.0.11"),
  hostname: "host1",
  networkConfig: { allocateSubnet: true, mesosBridge: true, dockerBridge: true },
};
const OK: OverlayStatus[] = [{ name: "dcos", status: "STATUS_OK" }];
const CONFIGURING: OverlayStatus[] = [{ name: "dcos", status: "STATUS_CONFIGURING" }];
const failed = (error: string): OverlayStatus[] => [{ name: "dcos", status: "STATUS_FAILED", error }];

const NOTHING: ReportAnswer = { reassigned: false, exhausted: [] };
const SIGNER = newSigner();
const admissionOf = (assignment: Assignment): Admission => ({
  assignment,
  membership: membershipFor(assignment, SIGNER, SIGNER),
});

/** A session whose master says what the test says, on virtual time. */
class Rig {
  readonly clock = new SimClock();
  readonly registrations: number[] = [];
  readonly reports: { readonly at: number; readonly overlays: readonly OverlayStatus[] }[] = [];
  readonly assigned: Assignment[] = [];
  readonly fatal: Fault[] = [];
  readonly warnings: string[] = [];
  register: () => Promise<Assignment> = async () => seedAssignment(1);
  reportStatus: (report: StatusReport) => Promise<ReportAnswer> = async () => NOTHING;
  onAssigned: () => void = () => {};
  readonly session: Session;
  /** What the agent around the session knows of its networks. */
  #said: OverlayStatus[] = CONFIGURING;

  constructor() {
    const warn: Log["warn"] = (_, message) => this.warnings.push(message);
    this.session = new Session(REQUEST, {
      client: {
        register: () => {
          this.registrations.push(this.clock.now());
          return this.register().then(admissionOf);
        },
        reportStatus: (report) => {
          this.reports.push({ at: this.clock.now(), overlays: report.overlays });
          return this.reportStatus(report);
        },
      },
      clock: this.clock,
      random: { fraction: () => 0.5, uuid: () => "unused" },
      log: { debug: () => {}, info: () => {}, warn, error: () => {} },
      metrics: new AgentMetrics(),
      onAdmitted: ({ assignment }) => {
        this.onAssigned();
        this.assigned.push(assignment);
        this.session.report(this.#said);
      },
      onFatal: (fault) => this.fatal.push(fault),
    });
  }

  async start(): Promise<this> {
    this.session.start();
    await settled();
    return this;
  }

  async say(statuses: OverlayStatus[]): Promise<void> {
    this.#said = statuses;
    this.session.report(statuses);
    await settled();
  }

  async run(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 100) {
      this.clock.advance(100);
      await settled();
    }
  }
}

/** All promises that can go on have gone on. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function refuses(code: Fault["code"], message = `refused: ${code}`): () => Promise<never> {
  return () => Promise.reject(new Fault(code, message));
}

test("what the master assigns is handed on, and again when a master has something new", async () => {
  const rig = new Rig();
  rig.register = refuses("not-ready");
  await rig.start();
  assert.deepEqual([rig.assigned.length, rig.session.isRegistered], [0, false]);
  rig.register = async () => seedAssignment(1);
  await rig.run(1_000);
  assert.deepEqual([rig.assigned, rig.session.isRegistered], [[seedAssignment(1)], true]);
  rig.session.reassigned();
  await rig.run(1_000);
  assert.equal(rig.assigned.length, 2);
});

test("a changed record is asked for again", async () => {
  const rig = await new Rig().start();
  rig.session.reassigned();
  await rig.run(1_000);
  assert.deepEqual(rig.registrations, [0, 500]);
});

test("the master is told what is settled, and again only when it changes", async () => {
  const rig = await new Rig().start();
  await rig.say(CONFIGURING);
  assert.deepEqual(rig.reports, []);
  for (const statuses of [OK, OK, failed("no"), OK]) await rig.say(statuses);
  assert.deepEqual(
    rig.reports.map(({ overlays }) => overlays),
    [OK, failed("no"), OK],
  );
  assert.equal(rig.session.configurationAttempts, 3);
});

test("before a master has answered nothing is reported; after it, what was said last", async () => {
  const rig = new Rig();
  await rig.say(failed("early"));
  await rig.say(OK);
  assert.deepEqual(rig.reports, []);
  await rig.start();
  assert.deepEqual(rig.reports, [{ at: 0, overlays: OK }]);
});

test("who registers again reports again: the master may be one that was told nothing", async () => {
  const rig = await new Rig().start();
  await rig.say(OK);
  rig.session.reassigned();
  await rig.run(1_000);
  assert.deepEqual(
    rig.reports.map(({ at }) => at),
    [0, 500],
  );
  assert.equal(rig.session.configurationAttempts, 1);
});

test("a report on its way to the last master does not stand for one to the next", async () => {
  const rig = await new Rig().start();
  const slow = Promise.withResolvers<ReportAnswer>();
  rig.reportStatus = () => slow.promise;
  await rig.say(OK);
  rig.session.reassigned();
  await rig.run(1_000);
  rig.reportStatus = async () => NOTHING;
  slow.resolve(NOTHING);
  await rig.run(100);
  assert.equal(rig.registrations.length, 2);
  assert.deepEqual(
    rig.reports.map(({ overlays }) => overlays),
    [OK, OK],
  );
  assert.equal(rig.session.configurationAttempts, 1);
});

test("what is not taken is said again at intervals, however often it changes meanwhile, and warned of once", async () => {
  const rig = await new Rig().start();
  rig.reportStatus = refuses("storage", "the disk is full");
  for (let n = 0; n < 10; n++) {
    await rig.say(failed(`error ${n}`));
    await rig.run(700);
  }
  await rig.run(53_000);
  const gaps = rig.reports.slice(1).map(({ at }, i) => at - (rig.reports[i]?.at ?? 0));
  assert(
    gaps.every((gap) => gap >= STATUS_REPORT_RETRY_MS),
    `gaps ${gaps}`,
  );
  assert(rig.reports.length >= 10, "it goes on");
  assert.deepEqual(rig.reports.at(-1)?.overlays, failed("error 9"));
  assert.equal(rig.warnings.filter((text) => text.includes("the disk is full")).length, 1);
  rig.reportStatus = async () => NOTHING;
  await rig.run(60_000);
  const { length } = rig.reports;
  await rig.run(60_000);
  assert.equal(rig.reports.length, length);
});

test("a master that stays away is warned of once, and again when its reason changes", async () => {
  const rig = new Rig();
  rig.register = refuses("not-ready", "nobody answers");
  await rig.start();
  await rig.run(600_000);
  assert(rig.registrations.length > 10);
  assert.equal(rig.warnings.length, 1);
  rig.register = refuses("exhausted", "no VTEP is free");
  await rig.run(120_000);
  assert.deepEqual(rig.warnings.slice(1), ["not registered: no VTEP is free"]);
});

test("an identity that stays taken ends the agent, with the master's words", async () => {
  const rig = new Rig();
  rig.register = refuses("identity-taken", "agent-1 is connected from 10.0.0.12");
  await rig.start();
  await rig.run(REGISTRATION_IDENTITY_GRACE_MS - 100);
  assert.deepEqual(rig.fatal, []);
  await rig.run(200);
  assert.deepEqual(
    rig.fatal.map(({ message }) => message),
    ["agent-1 is connected from 10.0.0.12"],
  );
});

test("an assignment that the agent's own disk refuses ends it; nothing follows from it", async () => {
  const rig = new Rig();
  rig.onAssigned = () => {
    throw new Fault("storage", "no space left");
  };
  await rig.start();
  assert.deepEqual(
    rig.fatal.map(({ code }) => code),
    ["storage"],
  );
  assert.equal(rig.session.isRegistered, false);
});

test("stop leaves no timer, and what comes after it changes nothing", async () => {
  const rig = new Rig();
  const late = Promise.withResolvers<Assignment>();
  rig.register = () => late.promise;
  await rig.start();
  rig.session.stop();
  late.resolve(seedAssignment(1));
  await settled();
  assert.deepEqual([rig.assigned, rig.clock.pending], [[], 0]);

  const closed = new Rig();
  const failing = Promise.withResolvers<Assignment>();
  closed.register = () => failing.promise;
  await closed.start();
  closed.session.stop();
  failing.reject(new Error("database is not open"));
  await settled(); // an unhandled rejection would end the test

  const reporting = await new Rig().start();
  reporting.reportStatus = refuses("storage");
  await reporting.say(OK);
  assert.equal(reporting.clock.pending, 1);
  reporting.session.stop();
  assert.equal(reporting.clock.pending, 0);
});

/** How full one half is, of ten addresses. */
const full = (used: number): OverlayStatus[] => [
  {
    name: "dcos",
    status: "STATUS_OK",
    usage: [{ half: cidr("9.0.0.0/28"), slice: cidr("9.0.0.0/27"), runtime: "cni", used, resting: 0, free: 10 - used }],
  },
];
const ELASTIC: Assignment = { ...seedAssignment(1), elastic: { threshold: 0.8 } };

test("that a network fills up is told within a second, other numbers once a minute", async () => {
  const rig = await new Rig().start();
  const say = (used: number) => rig.session.report(full(used), ELASTIC);
  say(1);
  await rig.run(100);
  for (let used = 2; used < 8; used++) say(used);
  await rig.run(59_800);
  assert.equal(rig.reports.length, 1);
  await rig.run(300);
  assert.deepEqual(
    rig.reports.slice(1).map(({ overlays }) => overlays),
    [full(7)],
  );
  say(8);
  await rig.run(900);
  say(9);
  await rig.run(200);
  assert.deepEqual(
    rig.reports.slice(2).map(({ overlays }) => overlays),
    [full(9)],
    "with what happens meanwhile",
  );
});

test("a record that changed is fetched at once, and told of anew", async () => {
  const rig = await new Rig().start();
  rig.reportStatus = async () => ({ reassigned: rig.reports.length === 1, exhausted: [] });
  await rig.say(OK);
  await rig.run(100);
  assert.deepEqual([rig.registrations.length, rig.reports.length], [2, 2]);
  assert.ok((rig.registrations[1] ?? 0) <= 100, "without a wait");
});

test("who asks for room has the report sent at once, and hears what the master says, if one is there", async () => {
  const rig = await new Rig().start();
  await rig.say(OK);
  rig.reportStatus = async () => ({ reassigned: false, exhausted: ["dcos"] });
  await rig.run(100);
  const answers = Promise.all([rig.session.askForRoom(), rig.session.askForRoom()]);
  await rig.run(200);
  assert.deepEqual((await answers)[1]?.exhausted, ["dcos"]);
  assert.ok(rig.reports.length <= 3);
  rig.reportStatus = refuses("not-ready");
  const refused = rig.session.askForRoom();
  await rig.run(200);
  assert.equal(await refused, undefined);
  rig.register = refuses("not-ready");
  rig.session.reassigned();
  const waiting = rig.session.askForRoom();
  await rig.run(1_000);
  assert.equal(await waiting, undefined);
  assert.equal(await rig.session.askForRoom(), undefined, "nobody waits for a master that is away");
});

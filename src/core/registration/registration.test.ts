import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Fault, type FaultCode } from "../../model/fault.ts";
import {
  REGISTRATION_BACKOFF_FIRST_MS,
  REGISTRATION_BACKOFF_MAX_MS,
  REGISTRATION_IDENTITY_GRACE_MS,
} from "../../model/limits.ts";
import { Registration, type RegistrationInput } from "./registration.ts";

const REGISTERED: RegistrationInput = { type: "registered" };
const REASSIGNED: RegistrationInput = { type: "reassigned" };

function failed(code: FaultCode): RegistrationInput {
  return { type: "register-failed", fault: new Fault(code, `refused: ${code}`) };
}

/** A machine on virtual time, and what it did and when: `0 register`. */
class Transcript {
  now = 0;
  readonly lines: string[] = [];
  readonly machine: Registration;

  constructor(fraction: () => number) {
    this.machine = new Registration(fraction);
    this.give({ type: "start" });
  }

  give(input: RegistrationInput): this {
    for (const effect of this.machine.step(input, this.now)) this.lines.push(`${this.now} ${effect.type}`);
    return this;
  }

  /** Lets time pass up to the deadline, which must be there. */
  wait(): this {
    const deadline = this.machine.nextDeadline();
    assert(deadline !== undefined, "no deadline");
    this.now = deadline;
    return this.give({ type: "tick" });
  }

  take(): string[] {
    return this.lines.splice(0);
  }
}

/** `fraction` that makes every wait as long as it may be (the random number itself never reaches 1). */
const longest = () => 1;

test("registers at once, and waits for nothing when that is done", () => {
  const agent = new Transcript(longest);
  assert.deepEqual(agent.take(), ["0 register"]);
  assert.deepEqual([agent.machine.state(), agent.machine.attempts()], ["registering", 1]);
  agent.give(REGISTERED);
  assert.deepEqual([agent.machine.state(), agent.machine.nextDeadline(), agent.take()], ["registered", undefined, []]);
});

test("the windows double up to the maximum, and success begins them anew", () => {
  const agent = new Transcript(longest);
  for (let n = 0; n < 9; n += 1) agent.give(failed("not-ready")).wait();
  assert.deepEqual(
    agent.take(),
    [0, 1, 3, 7, 15, 31, 63, 123, 183, 243].map((seconds) => `${seconds * 1000} register`),
  );
  assert.equal(agent.machine.attempts(), 10);
  agent.give(REGISTERED).give(REASSIGNED).wait().give(failed("storage")).wait();
  assert.deepEqual(agent.take(), ["244000 register", "245000 register"]);
  assert.equal(agent.machine.attempts(), 2);
});

test("each wait is the drawn fraction of its window", () => {
  const fractions = [0.5, 0, 0.25];
  const agent = new Transcript(() => fractions.shift() ?? 1);
  for (let n = 0; n < 3; n += 1) agent.give(failed("exhausted")).wait();
  assert.deepEqual(agent.take(), ["0 register", "500 register", "500 register", "1500 register"]);
});

test("a tick before the deadline does nothing, for a timer may run early; the deadline stays", () => {
  const agent = new Transcript(longest).give(failed("not-ready"));
  agent.now = 999;
  agent.give({ type: "tick" });
  assert.deepEqual([agent.take(), agent.machine.nextDeadline()], [["0 register"], 1_000]);
});

test("a call that is on its way is not doubled, whatever happens", () => {
  const agent = new Transcript(longest);
  agent.give({ type: "start" }).give(REASSIGNED).give({ type: "tick" });
  assert.deepEqual(agent.take(), ["0 register"]);
});

test("a record that changes while a call is on its way is asked for again", () => {
  const agent = new Transcript(longest).give(REASSIGNED);
  agent.now = 40;
  agent.give(REGISTERED);
  assert.equal(agent.machine.state(), "registering");
  agent.wait().give(REGISTERED);
  assert.deepEqual(agent.take(), ["0 register", "1040 register"]);
  assert.equal(agent.machine.state(), "registered");
});

test("a changed record makes it register again, after a jittered wait", () => {
  const agent = new Transcript(() => 0.3).give(REGISTERED).give(REASSIGNED);
  assert.deepEqual([agent.machine.state(), agent.machine.attempts()], ["registering", 0]);
  agent.wait();
  assert.deepEqual(agent.take(), ["0 register", "300 register"]);
});

test("a master that speaks cuts a long wait short", () => {
  const agent = new Transcript(longest);
  for (let n = 0; n < 7; n += 1) agent.give(failed("not-ready")).wait();
  agent.give(failed("not-ready")).take();
  const { now } = agent;
  assert.equal(agent.machine.nextDeadline(), now + REGISTRATION_BACKOFF_MAX_MS);
  agent.give(REASSIGNED);
  assert.equal(agent.machine.nextDeadline(), now + REGISTRATION_BACKOFF_FIRST_MS);
});

test("identity taken: retried for the grace time, the last time at its end, then given up for good", () => {
  const agent = new Transcript(longest);
  for (let n = 0; n < 5; n += 1) agent.give(failed("identity-taken")).wait();
  assert.deepEqual(
    agent.take(),
    [0, 1, 3, 7, 15, 20].map((seconds) => `${seconds * 1000} register`),
  );
  agent.give(failed("identity-taken"));
  assert.deepEqual(agent.take(), ["20000 give-up"]);
  assert.equal(agent.machine.nextDeadline(), undefined);
  agent.give(REASSIGNED).give({ type: "start" }).give({ type: "tick" }).give(REGISTERED);
  assert.deepEqual([agent.take(), agent.machine.state()], [[], "registering"]);
});

test("identity taken: the agent's own dead instance is given time to be noticed", () => {
  const agent = new Transcript(longest);
  for (let n = 0; n < 5; n += 1) agent.give(failed("identity-taken")).wait();
  agent.give(REGISTERED);
  assert.equal(agent.machine.state(), "registered");
  // The next time is a new one.
  agent.give(REASSIGNED).wait().take();
  agent.give(failed("identity-taken")).wait();
  assert.deepEqual(agent.take(), ["22000 register"]);
});

test("identity taken: any other answer begins the grace anew, for the master may be another one", () => {
  const agent = new Transcript(longest);
  for (let n = 0; n < 4; n += 1) agent.give(failed("identity-taken")).wait();
  agent.give(failed("not-ready")).wait().give(failed("identity-taken"));
  assert.notEqual(agent.machine.nextDeadline(), undefined);
  assert(agent.take().every((line) => line.endsWith(" register")));
});

test("identity taken: an answer that comes after the grace to a call from before it does not decide", () => {
  const agent = new Transcript(longest);
  agent.give(failed("identity-taken")).wait();
  agent.now = REGISTRATION_IDENTITY_GRACE_MS + 1;
  agent.give(failed("identity-taken"));
  assert.deepEqual(agent.take(), ["0 register", "1000 register"]);
  agent.wait().give(failed("identity-taken"));
  assert.match(agent.take().join(), /register,\d+ give-up$/);
});

const inputs = fc.oneof(
  fc.constant<RegistrationInput>({ type: "tick" }),
  fc.constant(REASSIGNED),

  fc.constant<RegistrationInput | "answer">("answer"),
);

test("any history: one call at a time, never stuck, and no wait beyond the maximum", () => {
  const history = fc.array(fc.tuple(inputs, fc.nat(30_000), fc.constantFrom<FaultCode | "ok">("ok", "not-ready")));
  fc.assert(
    fc.property(history, fc.array(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })), (steps, chances) => {
      const machine = new Registration(() => chances.shift() ?? 0.5);
      let now = 0;
      let calls = machine.step({ type: "start" }, now).length;
      for (const [input, ms, outcome] of steps) {
        now += ms;
        if (input === "answer" && calls === 0) continue;
        if (input === "answer") calls -= 1;
        const given = input === "answer" ? (outcome === "ok" ? REGISTERED : failed(outcome)) : input;
        calls += machine.step(given, now).length;
        assert(calls <= 1, "two calls on their way");
        const deadline = machine.nextDeadline();
        assert(calls === 1 || deadline !== undefined || machine.state() === "registered", "stuck");
        assert(calls === 0 || deadline === undefined, "a deadline beside a call");
        assert(deadline === undefined || deadline <= now + REGISTRATION_BACKOFF_MAX_MS, "a wait beyond the maximum");
      }
    }),
  );
});

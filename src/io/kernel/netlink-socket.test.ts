import assert from "node:assert/strict";
import { test } from "node:test";
import { Fault } from "../../model/fault.ts";
import type { Message } from "./netlink/message.ts";
import { collectDump } from "./netlink-socket.ts";

const NLM_F_DUMP_INTR = 0x10;
const entry = (value: number, flags = 2): Message => ({ type: 24, flags, sequence: 1, payload: Uint8Array.of(value) });
const end = (errno = 0, type = 3): Message => ({
  type,
  flags: 2,
  sequence: 1,
  payload: Uint8Array.from(Buffer.from(Int32Array.of(-errno).buffer)),
});
const collect = (...messages: Message[]) =>
  collectDump("routes", messages, ({ payload }) => (payload[0] === 0 ? undefined : payload[0]));

test("a list is what was decoded, without what was left out", () => {
  assert.deepEqual(collect(entry(1), entry(0), entry(2), end()), [1, 2]);
});

test("a list that changed under the reading does not count, wherever that was noticed", () => {
  assert.equal(collect(entry(1, NLM_F_DUMP_INTR), entry(2), end()), undefined);
  assert.equal(collect(entry(1), { ...end(), flags: NLM_F_DUMP_INTR }), undefined);
});

test("a list without an end, and a refusal in its middle, are faults", () => {
  const fault = (code: string, message: RegExp) => (error: unknown) =>
    error instanceof Fault && error.code === code && message.test(error.message);
  assert.throws(() => collect(entry(1)), fault("kernel-refused", /the list of routes has no end/));
  assert.throws(() => collect(entry(1), end(22)), fault("kernel-refused", /cannot read routes: .*EINVAL/));
  assert.throws(() => collect(end(1, 2)), fault("no-rights", /may not read routes; run it as root/));
});

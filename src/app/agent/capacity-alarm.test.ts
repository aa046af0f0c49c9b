import assert from "node:assert/strict";
import { test } from "node:test";
import type { Log } from "../../io/log.ts";
import { CapacityAlarm } from "./capacity-alarm.ts";

function listening(): { alarm: CapacityAlarm; lines: string[] } {
  const lines: string[] = [];
  const say = (level: string) => (_: object, message: string) => {
    lines.push(`${level} ${message}`);
  };
  const log: Log = { debug: say("debug"), info: say("info"), warn: say("warn"), error: say("error") };
  return { alarm: new CapacityAlarm(log), lines };
}

test("each mark is said once on the way up, and once below it again", () => {
  const { alarm, lines } = listening();
  for (const used of [0, 79, 80, 85, 99, 100, 100, 99, 94, 79, 74])
    alarm.note([{ what: "network dcos, IPv4", used, size: 100 }]);
  assert.deepEqual(
    lines.map((line) => line.replace("network dcos, IPv4: ", "").replace(" addresses of this host are held", "")),
    [
      "warn 80 of 100, 80 % or more; see weft ipam show",
      "error 100 of 100; containers are refused until some end",
      "info 94 of 100; below 100 % again",
      "info 74 of 100; below 80 % again",
    ],
  );
});

test("rooms are told apart, and counted by mark; an empty one says nothing", () => {
  const { alarm, lines } = listening();
  alarm.note([
    { what: "a", used: 80, size: 100 },
    { what: "b", used: 5, size: 5 },
    { what: "c", used: 0, size: 0 },
  ]);
  assert.equal(lines.length, 2);
  assert.deepEqual([alarm.count(80), alarm.count(100)], [2, 1]);
  alarm.note([]);
  assert.equal(alarm.count(80), 0);
});

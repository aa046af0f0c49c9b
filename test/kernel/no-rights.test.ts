/** Without rights every call is refused with the remedy, and nothing else happens. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { labOrReason } from "../support/lab.ts";
import { openTestNetns } from "../support/netns.ts";

const skip = await labOrReason();
const PROGRAM = join(import.meta.dirname, "../support/without-rights.ts");
/** Root without any of root's capabilities. */
const SETPRIV = ["--securebits=+noroot", "--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all"];

test("without CAP_NET_ADMIN and CAP_SYS_ADMIN each call says what is missing", { skip }, async (t) => {
  const { run, json } = await openTestNetns(t);
  const before = run("ip", "-d", "link");
  const answers = json("setpriv", ...SETPRIV, process.execPath, PROGRAM) as Record<string, string | string[]>;
  const remedy = "run it as root, or give it CAP_NET_ADMIN and CAP_SYS_ADMIN";
  assert.deepEqual(
    [answers.observe, answers.features, answers.watch, answers.enter],
    ["read nftables", "make a network namespace", "watch the kernel", "enter a network namespace"].map(
      (what) => `no-rights this process may not ${what}; ${remedy}`,
    ),
  );
  const refused = "operation not permitted (EPERM); run as root, or with CAP_NET_ADMIN and CAP_SYS_ADMIN";
  const [setSysctl, ...others] = (answers.apply as string[]).toReversed();
  assert.deepEqual(others.toReversed(), [
    `EPERM add bridge m-dcos: ${refused}`,
    `EPERM set link lo: ${refused}`,
    `EPERM delete table ip weft: ${refused}`,
  ]);
  // In a user namespace /proc refuses in its own way.
  assert.match(
    setSysctl ?? "",
    /^(EPERM|EACCES) set net\/ipv4\/conf\/lo\/forwarding = 1: .*; run as root, or with CAP/,
  );
  assert.equal(run("ip", "-d", "link"), before);
});

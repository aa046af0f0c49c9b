/**
 * What an upgrade costs connections: 200 of them between containers of three hosts, for as long as it takes to end the master
 * and each agent by SIGTERM and to start it again, one after another, three rounds. `before.*`: begun with the version of
 * before the control plane's entries, which the first round replaces; absent where the checkout lacks that commit.
 */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { BEFORE_ENTRIES, olderProblem } from "../test/support/older-weft.ts";
import { bench, type Run } from "./figures.ts";
import type { UpgradeResult } from "./upgrade-lab-process.ts";

const FLOWS = 200;

await bench("upgrade", async (run) => {
  const rounds = String(run.quick ? 1 : 3);
  report(run, "", await restarted("--rounds", rounds));
  if (!run.quick && olderProblem(BEFORE_ENTRIES) === undefined)
    report(run, "before.", await restarted("--rounds", "1", "--from", BEFORE_ENTRIES));
});

/** In a process of its own, which goes with all that it made. */
async function restarted(...args: readonly string[]): Promise<UpgradeResult> {
  const program = join(import.meta.dirname, "upgrade-lab-process.ts");
  const argv = ["--disable-warning=ExperimentalWarning", program, "--flows", String(FLOWS), ...args];
  const { stdout } = await promisify(execFile)(process.execPath, argv);
  return JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as UpgradeResult;
}

function report({ figure }: Run, prefix: string, result: UpgradeResult): void {
  const say = (name: string, unit: string, ours: number, target = "") =>
    figure({ figure: prefix + name, unit, ours, peer: null, target });
  say("resets", "connections", result.resets, "ours<=0");
  say("lost.bytes", "bytes", result.lost, "ours<=0");
  say("flows", "connections", result.flows);
  say("restarts", "programs", result.restarts);
  say("sent", "MB", result.sent / 1e6);
  say("retransmitted", "segments", result.retransmitted);
  say("stall.max", "ms", result.stallMs);
}

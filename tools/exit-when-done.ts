/**
 * Loaded into every test file's process: ends it some time after its last test, whatever it left open, so that a failed
 * test cannot hang the run. Not at once, as the runner's own `--test-force-exit` does: that one loses results that are
 * still on their way.
 */
import { after } from "node:test";

const GRACE_MS = 5_000;

// It keeps nothing alive: a process that is done is gone long before.
after(() => {
  setTimeout(() => process.exit(), GRACE_MS).unref();
});

/** Loaded into a gateway (`--import`): on SIGUSR2 it writes down how long its event loop stood still at most since the last time. */
import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";

const resolutionMs = 2;

/** Milliseconds, in a file of that home. */
export function loopDelayFile(home: string): string {
  return join(home, "loop-delay");
}

// Whoever imports it for the file alone is no gateway.
const home = process.env["PORTREEVE_BENCH_LOOP"];
if (home !== undefined) {
  const delays = monitorEventLoopDelay({ resolution: resolutionMs });
  delays.enable();
  process.on("SIGUSR2", () => {
    const file = loopDelayFile(home);
    writeFileSync(`${file}.new`, String(delays.max / 1e6 - resolutionMs));
    renameSync(`${file}.new`, file);
    delays.reset();
  });
}

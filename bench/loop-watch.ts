/**
 * Loaded into a gateway (`--import`): on SIGUSR2 it writes down how long its event loop stood still at most since the last time,
 * and how long without the time in which its thread could have gone on and no core was free.
 */
import { openSync, readSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const resolutionMs = 2;

export interface Stalls {
  readonly longestMs: number;
  /** The longest of what is the gateway's own: its work, and its waits for the disk. */
  readonly longestOwnMs: number;
}

/** Where a gateway of that home writes `Stalls`, as JSON. */
export function stallsFile(home: string): string {
  return join(home, "stalls.json");
}

/** What the kernel counts of the main thread, in nanoseconds: on a core, ready without one. */
function createWaitReader(): () => number {
  const file = openSync(`/proc/self/task/${process.pid}/schedstat`, "r");
  const text = Buffer.alloc(64);
  return () => Number(text.toString("latin1", 0, readSync(file, text, 0, text.length, 0)).split(" ")[1]) / 1e6;
}

function watch(home: string): void {
  const readWaitedMs = createWaitReader();
  let longest: Stalls = { longestMs: 0, longestOwnMs: 0 };
  let lastMs = performance.now();
  let lastWaitedMs = readWaitedMs();
  const look = (): void => {
    const [nowMs, waitedMs] = [performance.now(), readWaitedMs()];
    const stallMs = nowMs - lastMs - resolutionMs;
    longest = {
      longestMs: Math.max(longest.longestMs, stallMs),
      longestOwnMs: Math.max(longest.longestOwnMs, stallMs - (waitedMs - lastWaitedMs)),
    };
    [lastMs, lastWaitedMs] = [nowMs, waitedMs];
  };
  setInterval(look, resolutionMs).unref();
  process.on("SIGUSR2", () => {
    const file = stallsFile(home);
    writeFileSync(`${file}.new`, JSON.stringify(longest));
    renameSync(`${file}.new`, file);
    longest = { longestMs: 0, longestOwnMs: 0 };
  });
}

// Whoever imports it for the file alone is no gateway.
const home = process.env["PORTREEVE_BENCH_LOOP"];
if (home !== undefined) watch(home);

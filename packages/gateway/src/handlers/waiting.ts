/** Waiting for the end of a run: a hint says when to look, and the store what is. */
import { ProtocolError } from "@portreeve/protocol";
import type { RunRecord } from "../store/store.ts";
import type { HandlerDeps } from "./deps.ts";

type WaitDeps = Pick<HandlerDeps, "store" | "bus" | "clock">;

/** How long an end stays unnoticed whose hint was lost. */
const lookEveryMs = 5_000;

/** Resolves with the run once it has ended; rejects with the signal's reason when nobody waits any more. */
export async function waitForEnd({ store, bus, clock }: WaitDeps, runId: string, signal: AbortSignal): Promise<RunRecord> {
  let woken = Promise.withResolvers<void>();
  const wake = (): void => woken.resolve();
  using _hints = bus.subscribe("run-ended", (hint) => {
    if (hint.runId === runId) wake();
  });
  signal.addEventListener("abort", wake, { once: true });
  try {
    for (;;) {
      signal.throwIfAborted();
      const run = await store.runs.find(runId);
      if (run === undefined) throw new ProtocolError("UNKNOWN_RUN", `unknown run ${runId}`);
      if (run.ending !== undefined) return run;
      using _timer = clock.schedule(clock.now() + lookEveryMs, wake);
      await woken.promise;
      woken = Promise.withResolvers();
    }
  } finally {
    signal.removeEventListener("abort", wake);
  }
}

/** The run as it ended, or as it stands when the time is over. */
export async function waitAtMost(
  deps: WaitDeps,
  run: RunRecord,
  { budget, signal }: { readonly budget: AbortSignal; readonly signal: AbortSignal },
): Promise<RunRecord> {
  try {
    return await waitForEnd(deps, run.runId, AbortSignal.any([budget, signal]));
  } catch (error) {
    if (!budget.aborted) throw error;
    return (await deps.store.runs.find(run.runId)) ?? run;
  }
}

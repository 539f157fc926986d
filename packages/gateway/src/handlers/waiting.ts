/** Waiting for a run, or for its end: a hint says when to look, and the store what is. */
import { ProtocolError } from "@portreeve/protocol";
import type { RunRecord } from "../store/store.ts";
import type { HandlerDeps } from "./deps.ts";

type WaitDeps = Pick<HandlerDeps, "store" | "bus" | "clock">;

/** How long what was waited for stays unnoticed when its hint was lost. */
const lookEveryMs = 5_000;

/** Resolves with the run once it has ended; rejects with the signal's reason when nobody waits any more. */
export async function waitForEnd({ store, bus, clock }: WaitDeps, runId: string, signal: AbortSignal): Promise<RunRecord> {
  const hints = (wake: () => void): Disposable =>
    bus.subscribe("run-ended", (hint) => {
      if (hint.runId === runId) wake();
    });
  const look = async (): Promise<RunRecord | undefined> => {
    const run = await store.runs.find(runId);
    if (run === undefined) throw new ProtocolError("UNKNOWN_RUN", `unknown run ${runId}`);
    return run.ending === undefined ? undefined : run;
  };
  return lookUntilFound(clock, { hints, look }, signal);
}

/** Resolves with the run once there is one; rejects with the signal's reason when nobody waits any more. */
export async function waitForRun(
  { store, bus, clock }: WaitDeps,
  { wireId, rootKey }: { readonly wireId: string; readonly rootKey: string | undefined },
  signal: AbortSignal,
): Promise<RunRecord> {
  const hints = (wake: () => void): Disposable =>
    bus.subscribe("sessions.changed", (hint) => {
      if (hint.runId === wireId) wake();
    });
  return lookUntilFound(clock, { hints, look: () => store.runs.findByWireId(wireId, { rootKey }) }, signal);
}

interface Sought<T> {
  readonly hints: (wake: () => void) => Disposable;
  readonly look: () => Promise<T | undefined>;
}

async function lookUntilFound<T>(clock: WaitDeps["clock"], { hints, look }: Sought<T>, signal: AbortSignal): Promise<T> {
  let woken = Promise.withResolvers<void>();
  const wake = (): void => woken.resolve();
  using _hints = hints(wake);
  signal.addEventListener("abort", wake, { once: true });
  try {
    for (;;) {
      signal.throwIfAborted();
      const found = await look();
      if (found !== undefined) return found;
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

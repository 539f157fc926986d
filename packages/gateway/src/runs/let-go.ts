/**
 * Runs whose turns could not be written. Nobody died of them: they are given back with the next claim that the store takes, and
 * tried again after a pause, a longer one each time: a disk that takes claims and no replies would have each reply paid again.
 */
import type { GivenBack } from "../store/claimer.ts";
import type { Claim } from "../store/store.ts";

const firstPauseMs = 30_000;
const longestPauseMs = 5 * 60_000;

interface Failed {
  readonly times: number;
  /** Undefined: given back. */
  readonly back: GivenBack | undefined;
}

export class LetGo {
  readonly #runs = new Map<string, Failed>();

  add({ run: { runId }, epoch }: { readonly run: Pick<Claim["run"], "runId">; readonly epoch: number }, nowMs: number): void {
    const times = (this.#runs.get(runId)?.times ?? 0) + 1;
    const pauseMs = Math.min(firstPauseMs * 2 ** (times - 1), longestPauseMs);
    this.#runs.set(runId, { times, back: { runId, epoch, notBeforeMs: nowMs + pauseMs } });
  }

  /** The run got something written, or is over. */
  passed(runId: string): void {
    this.#runs.delete(runId);
  }

  /** To be given back. */
  get pending(): readonly GivenBack[] {
    return [...this.#runs.values()].flatMap(({ back }) => back ?? []);
  }

  /** A claim with these was written. */
  given(all: readonly GivenBack[]): void {
    for (const one of all) {
      const failed = this.#runs.get(one.runId);
      if (failed?.back === one) this.#runs.set(one.runId, { ...failed, back: undefined });
    }
  }
}

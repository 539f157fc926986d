/** Suspects go on one at a time: a run that its gateway dies of takes down no other that was at work beside it each time. */
import type { Claimed } from "../store/store.ts";

export class Suspects {
  /** Of the suspect that is carried and has not got on yet. */
  #runId: string | undefined;
  #isAsked = false;

  /** Claims with `claim`, which is told whether it may take a suspect. */
  async claim(claim: (takesSuspect: boolean) => Promise<Claimed>): Promise<Claimed> {
    if (this.#isAsked || this.#runId !== undefined) return claim(false);
    this.#isAsked = true;
    try {
      const claimed = await claim(true);
      this.#runId = claimed.claims.find(({ isSuspect }) => isSuspect)?.run.runId;
      return claimed;
    } finally {
      this.#isAsked = false;
    }
  }

  /** The run got something written, or is over; answers whether the next suspect may go on now. */
  passed(runId: string): boolean {
    if (this.#runId !== runId) return false;
    this.#runId = undefined;
    return true;
  }

  /** A step may take hours: what has not brought the gateway down by now holds up the next suspect no longer. */
  waitNoLonger(): void {
    this.#runId = undefined;
  }
}

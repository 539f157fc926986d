/** Suspects go on one at a time: a run that its gateway dies of takes down no other that was at work beside it each time. */
import type { Claim } from "../store/store.ts";

export class Suspects {
  /** Of the suspect that is carried and has not got on yet. */
  #runId: string | undefined;
  #isAsked = false;

  /** Answers whether the claim that is about to be made may take a suspect; if so, `answered` follows, whatever comes of it. */
  ask(): boolean {
    if (this.#isAsked || this.#runId !== undefined) return false;
    this.#isAsked = true;
    return true;
  }

  answered(claims: readonly Claim[]): void {
    this.#isAsked = false;
    this.#runId = claims.find(({ isSuspect }) => isSuspect)?.run.runId;
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

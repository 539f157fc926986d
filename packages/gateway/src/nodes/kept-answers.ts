/** Answers under their idempotency keys, for a while and within bounds: a repeated call gets the same one. */
import type { Askers } from "./askers.ts";
import type { InvokeOutcome } from "./invocations.ts";

interface Kept {
  readonly fingerprint: string;
  readonly answer: Promise<InvokeOutcome>;
  readonly askers: Askers;
  readonly keptAtMs: number;
  /** Undefined while nobody knows the answer. */
  size: number | undefined;
}

type Call = Pick<Kept, "fingerprint" | "answer" | "askers">;

const keptForMs = 600_000;
/** In characters of JSON. */
const keptSize = 33_554_432;
const keptCount = 1_000;

export class KeptAnswers {
  readonly #kept = new Map<string, Kept>();

  find(key: string): Call | undefined {
    return this.#kept.get(key);
  }

  /** A call that fails was not made: it is forgotten, and may be tried again under its key. */
  keep(key: string, kept: Call, nowMs: number): void {
    const entry: Kept = { ...kept, keptAtMs: nowMs, size: undefined };
    this.#kept.set(key, entry);
    kept.answer.then(
      (outcome) => {
        entry.size = outcome.kind === "answered" ? (outcome.payloadJSON?.length ?? 0) : 0;
        this.#forget(nowMs);
      },
      () => this.#kept.delete(key),
    );
    this.#forget(nowMs);
  }

  /** What is old goes, and what is too much, the oldest first; what is in work stays. */
  #forget(nowMs: number): void {
    let size = [...this.#kept.values()].reduce((sum, one) => sum + (one.size ?? 0), 0);
    for (const [key, one] of this.#kept) {
      const isOver = one.keptAtMs + keptForMs < nowMs || size > keptSize || this.#kept.size > keptCount;
      if (!isOver || one.size === undefined) continue;
      this.#kept.delete(key);
      size -= one.size;
    }
  }
}

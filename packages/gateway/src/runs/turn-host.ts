/** What a turn and the worker that runs it have to do with each other. */
import type { RunRecord } from "../store/store.ts";
import type { RunEvents } from "./run-events.ts";
import type { RunProcesses } from "./run-processes.ts";

/** What a turn tells its worker, and hears from it. */
export interface TurnHost {
  /** Aborts when the turn is to stop at its next step, to be continued by another process. */
  readonly draining: AbortSignal;
  interrupt(why: Interruption): void;
  /** Something that the turn did is durable: whoever goes on after a crash is at another step. */
  gotOn(): void;
  /** A queued run ended because its message was taken into this turn. */
  absorbed(run: RunRecord): void;
}

export interface TurnParts {
  readonly events: RunEvents;
  readonly signal: AbortSignal;
  readonly host: TurnHost;
  /** Stopped by the turn at its end. */
  readonly processes: RunProcesses;
}

/** Why a turn is stopped from outside; the reason of its signal. */
export type Interruption = "shutdown" | "cancelled" | "deadline" | "stalled" | "lost" | "absorbed" | "over";

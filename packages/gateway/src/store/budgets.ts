/**
 * Budgets as a tree: each call of a model is reserved over every budget above it before it is made, and settled with what
 * it used. A reservation lasts no longer than its claim. What one run may spend at most can be exceeded by the reply that
 * is under way: a provider may count otherwise than the estimate.
 */
import type { Ending, RunRecord } from "./store.ts";

/** What a call may use: its input as estimated, and at most so much output. */
export interface CallEstimate {
  readonly input: number;
  /** A call that could not answer even this much is not made. */
  readonly leastOutput: number;
  readonly mostOutput: number;
  /** Millionths of a dollar a token; undefined: not known, which no budget in money permits. */
  readonly price: { readonly input: number; readonly output: number } | undefined;
}

/** What is left to spend, where anything is limited. */
export interface BudgetLeft {
  readonly tokens?: number | undefined;
  readonly usd?: number | undefined;
  readonly turns?: number | undefined;
}

export type Reservation =
  | { readonly kind: "lost" }
  | { readonly kind: "unlimited" }
  /** `maxOutput`: undefined where tokens and money are free. `isAll`: there is no more in the budget than that. */
  | { readonly kind: "reserved"; readonly maxOutput: number | undefined; readonly isAll: boolean }
  /** `isDay`: what all runs of the agent may use that day; else what the run's tree may. */
  | {
      readonly kind: "exceeded";
      readonly dimension: keyof BudgetLeft;
      readonly needed: number;
      readonly left: BudgetLeft;
      readonly isDay: boolean;
    };

/** What all runs of an agent may use in one day (UTC). */
export interface DayBudget {
  readonly id: string;
  readonly most: BudgetLeft;
}

/** Today's, or undefined where nothing is limited. */
export function toDayBudget(agentId: string, most: BudgetLeft | undefined, nowMs: number): DayBudget | undefined {
  if (most === undefined || Object.values(most).every((bound) => bound === undefined)) return undefined;
  return { id: `day:${agentId}:${new Date(nowMs).toISOString().slice(0, 10)}`, most };
}

export interface BudgetStore {
  /** Fenced by the claim's epoch. A second reservation of a run replaces its first. `day`: as it is now, whatever it was before. */
  reserve(run: { readonly runId: string; readonly epoch: number }, call: CallEstimate, day?: DayBudget): Promise<Reservation>;
  /** For a call of no run, until what it used is written or it is released; `id`: the reservation's. */
  reserveOfDay(id: string, call: CallEstimate, day: DayBudget): Promise<Exclude<Reservation, { kind: "lost" }>>;
  /** Gives back what a call held that was not made to its end. */
  release(id: string): Promise<void>;
  /** What the run and all above it leave it; undefined: it has no budget. */
  left(runId: string): Promise<BudgetLeft | undefined>;
}

/** How a run ends whose time is over: `wallMs` of a budget is a bound like the others, a deadline is not. Pure. */
export function toDeadlineEnding({ authority, startedAtMs, deadlineAtMs = Infinity }: RunRecord, text: string): Ending {
  const wallMs = authority.limits?.budget.wallMs ?? "unlimited";
  const isWall = wallMs !== "unlimited" && startedAtMs !== undefined && startedAtMs + wallMs <= deadlineAtMs;
  if (!isWall) return { outcome: "timed_out", text, error: "the deadline passed", stopReason: "timeout" };
  return { outcome: "budget_exceeded", text, error: `the budget of ${wallMs} ms is spent`, stopReason: "budget_wall" };
}

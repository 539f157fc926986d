/** The journal: what happened in a run, one durable fact an entry. Folding it gives the run's state (`runs/machine.ts`). */
import type { ContentBlock, Silence, Usage } from "@portreeve/protocol";
import type { BudgetLeft } from "./budgets.ts";
import type { Cost } from "./usage.ts";

/** How a run ends. From runtime facts, never from what a model said. */
export type Outcome = "succeeded" | "failed" | "timed_out" | "stalled" | "cancelled" | "interrupted" | "budget_exceeded" | "rejected";

/** A finished child as its parent's turn reads it. */
export interface Completion {
  readonly inboxId: string;
  readonly childRunId: string;
  readonly childSessionKey: string;
  readonly label: string | undefined;
  readonly outcome: Outcome;
  /** At most the first part of a long result; empty for a silence. */
  readonly text: string;
  /** How long the whole result is, where `text` is not all of it. */
  readonly textChars?: number | undefined;
  readonly silence?: Silence | undefined;
  /** The reply ended where its model had no tokens left. Completions from before this was told lack it. */
  readonly isCutOff?: boolean | undefined;
  /** Why `text` is not the value that was asked for. */
  readonly schemaError?: string | undefined;
  readonly runtimeMs: number;
  readonly usage: Usage;
  /** Undefined: a call of it has no known price. */
  readonly costMicroUsd?: number | undefined;
  /** Of its own budget and all above it; undefined: none of them limits it. */
  readonly budgetLeft?: BudgetLeft | undefined;
}

/** A message that came while the run worked, taken into its turn. */
export interface SteeredMessage {
  /** The run that the message would have been. */
  readonly runId: string;
  readonly from: string;
  readonly text: string;
}

export type JournalEntry =
  /** The turn began with the run's own message. */
  | { readonly kind: "input"; readonly text: string }
  /** The turn began, or went on, with children's results. */
  | { readonly kind: "completions"; readonly completions: readonly Completion[] }
  /** Messages that came meanwhile were taken in, between two steps or while the run was parked. */
  | { readonly kind: "steered"; readonly messages: readonly SteeredMessage[] }
  /** The reply was not the value that was asked for, and the model was told why. */
  | { readonly kind: "repair"; readonly message: string }
  /** One model call ended well. */
  | {
      readonly kind: "reply";
      readonly content: readonly ContentBlock[];
      readonly model: string;
      readonly reason: "stop" | "tool-calls" | "length" | "content-filter";
      readonly usage: Usage;
      /** Undefined: the model has no known price. */
      readonly cost?: Cost | undefined;
    }
  /** One call of `model` failed; `partial` is the text that had come. Entries from before there was more than one lack it. */
  | {
      readonly kind: "model-error";
      readonly model?: string;
      readonly errorKind: string;
      readonly message: string;
      readonly retryable: boolean;
      readonly retryAtMs: number;
      /** What the provider asked for, however long. */
      readonly retryAfterMs?: number | undefined;
      readonly partial: string;
      /** When the provider said it. */
      readonly usage?: Usage | undefined;
      readonly cost?: Cost | undefined;
    }
  /** A summary stands for the older part of the transcript from here on. */
  | {
      readonly kind: "compacted";
      /** That was asked; entries from before it was kept lack it. */
      readonly model?: string;
      /** The last message it stands for. */
      readonly throughSeq: number;
      /** The last order, when that is among them: it is read as it is. */
      readonly pinnedSeq?: number | undefined;
      readonly summary: string;
      /** Whether the transcript is below the limit now. */
      readonly enough: boolean;
      readonly usage: Usage;
      readonly cost?: Cost | undefined;
    }
  /** No summary came of it; without `retryAtMs` none will. */
  | {
      readonly kind: "compaction-failed";
      readonly model?: string;
      readonly errorKind: string;
      readonly message: string;
      readonly retryAtMs?: number | undefined;
      readonly usage?: Usage | undefined;
      readonly cost?: Cost | undefined;
    }
  /** A tool that may not run twice is about to run. */
  | { readonly kind: "tool-intent"; readonly toolCallId: string; readonly name: string; readonly args: unknown }
  | {
      readonly kind: "tool-result";
      readonly toolCallId: string;
      readonly name: string;
      readonly text: string;
      readonly isError: boolean;
      readonly parks: boolean;
    }
  | { readonly kind: "parked"; readonly on: "children"; readonly eventSeq: number }
  | {
      readonly kind: "ended";
      readonly outcome: Outcome;
      readonly text: string;
      readonly error: string | undefined;
      readonly stopReason: string;
    };

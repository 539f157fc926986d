/** What a model reads of a transcript, and the summaries that shorten it. The messages themselves are never touched. */
import type { Message } from "@portreeve/protocol";
import type { JournalEntry } from "./journal.ts";

export interface SessionView {
  /** Stands for every message up to `throughSeq`. */
  readonly summary: { readonly text: string; readonly throughSeq: number } | undefined;
  /** One of those, read as it is. */
  readonly pinned: Message | undefined;
  readonly messages: readonly Message[];
}

/** A compaction that no run asked for; one of a run is kept with its journal entry. */
export interface HandMade {
  readonly entry: Extract<JournalEntry, { kind: "compacted" | "compaction-failed" }>;
  readonly model: string;
  /** The newest summary's last message when the view was read. */
  readonly sawThroughSeq: number | undefined;
}

export interface CompactionStore {
  /** The newest summary, and what was said since. */
  view(key: string): Promise<SessionView>;
  /** Charges the call and keeps its summary. `overtaken`: another one was kept since the view was read. */
  compact(key: string, compaction: HandMade, nowMs: number): Promise<"kept" | "overtaken" | "missing">;
}

/** What a model reads of a transcript, and the summaries that shorten it. The messages themselves are never touched. */
import type { Message } from "@portreeve/protocol";
import type { JournalEntry } from "./journal.ts";
import type { RunRecord } from "./store.ts";

/** What a model reads. */
export interface TranscriptView {
  /** Stands for every message up to `throughSeq`. */
  readonly summary: { readonly text: string; readonly throughSeq: number } | undefined;
  /** One of those, read as it is. */
  readonly pinned: Message | undefined;
  readonly messages: readonly Message[];
}

export interface SessionView extends TranscriptView {
  /** Whose transcript it is; undefined: there is no session. */
  readonly session: { readonly sessionId: string; readonly agentId: string } | undefined;
}

/** A compaction that no run asked for; one of a run is kept with its journal entry. */
export interface HandMade {
  readonly entry: Extract<JournalEntry, { kind: "compacted" | "compaction-failed" }>;
  readonly model: string;
  /** As in the view that was read. */
  readonly session: SessionView["session"];
  /** The newest summary's last message when the view was read. */
  readonly sawThroughSeq: number | undefined;
  /** What the call held of its agent's day. */
  readonly reservation?: string | undefined;
}

export interface CompactionStore {
  /** The newest summary, and what was said since. */
  view(key: string): Promise<SessionView>;
  /** Charges the call and keeps its summary. `overtaken`: since the view was read another one was kept, or the session was emptied. */
  compact(key: string, compaction: HandMade, nowMs: number): Promise<"kept" | "overtaken" | "missing">;
}

/** By which a transcript knows the message that a run was started with. */
export function messageKeyOf({ wireId }: Pick<RunRecord, "wireId">): string {
  return `${wireId}:user`;
}

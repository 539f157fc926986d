/** A compaction that a person asks for: no run, so nothing to continue; a crash in the middle leaves the session as it was. */
import { ProtocolError } from "@portreeve/protocol";
import type { Clock } from "../kit/clock.ts";
import type { Store } from "../store/store.ts";
import { type CompactingDeps, makeCompaction } from "./compacting.ts";

export interface HandCompaction {
  readonly sessionKey: string;
  readonly modelId: string;
  readonly keepMessages: number | undefined;
}

interface HandDeps extends CompactingDeps {
  readonly store: Store;
  readonly clock: Clock;
}

export async function compactByHand(
  deps: HandDeps,
  { sessionKey, modelId, keepMessages }: HandCompaction,
  signal: AbortSignal,
): Promise<{ readonly problem: string | undefined; readonly kept: number }> {
  const { sessions } = deps.store;
  const view = await sessions.view(sessionKey);
  const entry = await makeCompaction(deps, {
    modelId,
    view,
    keep: keepMessages === undefined ? { kind: "last-exchange" } : { kind: "messages", most: keepMessages },
    overhead: 0,
    retryAtMs: () => undefined,
    signal,
  });
  const compaction = { entry, model: modelId, session: view.session, sawThroughSeq: view.summary?.throughSeq };
  const outcome = await sessions.compact(sessionKey, compaction, deps.clock.now());
  if (outcome === "missing") throw new ProtocolError("UNKNOWN_SESSION", `there is no session ${sessionKey}`);
  const { messages } = await sessions.view(sessionKey);
  if (entry.kind === "compaction-failed") return { problem: entry.message, kept: messages.length };
  return { problem: outcome === "overtaken" ? "a reset or another compaction came first" : undefined, kept: messages.length };
}

/** A compaction that a person asks for: no run, so nothing to continue; a crash in the middle leaves the session as it was. */
import { ProtocolError } from "@portreeve/protocol";
import type { Clock } from "../kit/clock.ts";
import type { Ids } from "../kit/ids.ts";
import { type BudgetLeft, type Reservation, toDayBudget } from "../store/budgets.ts";
import type { SessionView } from "../store/compactions.ts";
import type { Store } from "../store/store.ts";
import { estimateCall } from "./call-estimate.ts";
import { type CompactingDeps, makeCompaction } from "./compacting.ts";
import { toModelView } from "./compaction.ts";
import { toBudgetEnding } from "./plan.ts";

export interface HandCompaction {
  readonly sessionKey: string;
  readonly modelId: string;
  readonly keepMessages: number | undefined;
}

interface HandDeps extends CompactingDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly budgetPerDay: (agentId: string) => BudgetLeft | undefined;
}

interface Compacted {
  /** Why nothing was compacted. */
  readonly problem: string | undefined;
  /** Messages that a model reads as they are. */
  readonly kept: number;
}

export async function compactByHand(deps: HandDeps, ask: HandCompaction, signal: AbortSignal): Promise<Compacted> {
  const view = await deps.store.sessions.view(ask.sessionKey);
  const reservation = `compaction:${deps.ids.orderedUuid()}`;
  const reserved = await reserve(deps, reservation, view, ask.modelId);
  if (reserved.kind === "exceeded")
    return { problem: toBudgetEnding(reserved, view.session?.agentId ?? "").error, kept: view.messages.length };
  try {
    return await compactView(deps, ask, { view, reserved, reservation, signal });
  } catch (error) {
    if (reserved.kind === "reserved") await deps.store.budgets.release(reservation);
    throw error;
  }
}

/** Over what its agent may use that day, where that is limited. */
async function reserve({ store, clock, budgetPerDay, priceOf }: HandDeps, id: string, view: SessionView, modelId: string) {
  const agentId = view.session?.agentId;
  const day = agentId === undefined ? undefined : toDayBudget(agentId, budgetPerDay(agentId), clock.now());
  if (day === undefined) return { kind: "unlimited" } as const;
  const request = { system: "", messages: toModelView(view), tools: [] };
  return store.budgets.reserveOfDay(id, estimateCall(request, priceOf(modelId)), day);
}

interface Prepared {
  readonly view: SessionView;
  readonly reserved: Reservation;
  readonly reservation: string;
  readonly signal: AbortSignal;
}

async function compactView(deps: HandDeps, ask: HandCompaction, { view, reserved, reservation, signal }: Prepared): Promise<Compacted> {
  const { sessionKey, modelId, keepMessages } = ask;
  const { sessions } = deps.store;
  const entry = await makeCompaction(deps, {
    modelId,
    view,
    keep: keepMessages === undefined ? { kind: "last-exchange" } : { kind: "messages", most: keepMessages },
    overhead: 0,
    reserved,
    retryAtMs: () => undefined,
    signal,
  });
  const compaction = { entry, model: modelId, session: view.session, sawThroughSeq: view.summary?.throughSeq, reservation };
  const outcome = await sessions.compact(sessionKey, compaction, deps.clock.now());
  if (outcome === "missing") throw new ProtocolError("UNKNOWN_SESSION", `there is no session ${sessionKey}`);
  const { messages } = await sessions.view(sessionKey);
  if (entry.kind === "compaction-failed") return { problem: entry.message, kept: messages.length };
  return { problem: outcome === "overtaken" ? "a reset or another compaction came first" : undefined, kept: messages.length };
}

/**
 * Exec approvals: asked, waited for, decided once by somebody else, or ended by time. What is open is in the store; whoever
 * waits reads it there again after every hint, so that a restart loses nothing and a lost hint only time.
 */
import type { PendingApproval, Params, Result } from "@portreeve/protocol";
import { ProtocolError } from "@portreeve/protocol";
import type { Bus } from "../bus.ts";
import { toActor } from "../identity/device-management.ts";
import type { Clock } from "../kit/clock.ts";
import type { Ids } from "../kit/ids.ts";
import { background, type Log } from "../kit/log.ts";
import { mayDecideApproval, maySeeApproval } from "../principal/approvers.ts";
import type { Principal } from "../principal/principal.ts";
import type { ApprovalRecord, ApprovalStore } from "../store/approvals.ts";
import { toAsk } from "./approval-ask.ts";
import { alreadyResolved, ambiguous, idTaken, invalidDecision, mayNotDecide, notFound, ownRequest, tooLarge, tooMany } from "./refusals.ts";

export interface Approvals extends Disposable {
  /** `accept` is told the id at once when two answers were asked for. */
  request(
    principal: Principal,
    params: Params<"exec.approval.request">,
    call: { readonly signal: AbortSignal; readonly accept: (accepted: Accepted) => void },
  ): Promise<Decided>;
  wait(principal: Principal, id: string, signal: AbortSignal): Promise<Decided>;
  resolve(principal: Principal, decision: Params<"exec.approval.resolve">): Promise<void>;
  find(principal: Principal, id: string): Promise<ApprovalRecord>;
  list(principal: Principal): Promise<readonly ApprovalRecord[]>;
}

type Accepted = { status: "accepted"; id: string; createdAtMs: number; expiresAtMs: number; deliveryRoute: "approval-client" | "none" };
type Decided = Result<"exec.approval.request">;

export interface ApprovalsDeps {
  readonly store: ApprovalStore;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly log: Log;
  /** Everyone who is connected. */
  readonly connected: () => readonly Principal[];
}

const defaultTimeoutMs = 1_800_000;
const maxTimeoutMs = 86_400_000;
const maxRequestBytes = 65_536;

/** Resolves once what expired while no gateway ran has ended. */
export async function startApprovals(deps: ApprovalsDeps): Promise<Approvals> {
  const { store, bus, clock, log } = deps;
  /** What was told to wait and not yet told to have ended. */
  const open = new Set((await store.listPending(0)).map(({ id }) => id));
  let timer: Disposable | undefined;

  const tellEnded = async (ids: Iterable<string>): Promise<void> => {
    for (const id of ids) {
      const approval = await store.find(id);
      if (approval?.state === "pending" || !open.delete(id) || approval === undefined) continue;
      const { decision = null, decidedBy = null, decidedAtMs = clock.now(), shown, requester, reviewers } = approval;
      log.info({ approvalId: id, state: approval.state, decision, by: decidedBy }, "exec approval ended");
      const payload = { id, decision, resolvedBy: decidedBy, ts: decidedAtMs, request: shown };
      bus.publish("exec.approval.resolved", { payload, requester, reviewers });
    }
  };
  const expire = async (): Promise<void> => {
    timer?.[Symbol.dispose]();
    const { nextAtMs } = await store.expire(clock.now());
    if (nextAtMs !== undefined) timer = clock.schedule(nextAtMs, () => background(log, "end exec approvals", expire()));
    await tellEnded([...open]);
  };
  await expire();
  const hearing = new DisposableStack();
  // With its requester or its node an approval is gone.
  for (const topic of ["device.pair.changed", "node.pair.resolved"] as const)
    hearing.use(bus.subscribe(topic, () => background(log, "end exec approvals", tellEnded([...open]))));
  const announce = (approval: ApprovalRecord): void => {
    open.add(approval.id);
    log.info({ approvalId: approval.id, by: approval.requester, nodeId: approval.nodeId }, "an exec approval waits");
    bus.publish("exec.approval.requested", { payload: toPending(approval), ...boundTo(approval) });
    background(log, "end exec approvals", expire());
  };
  return {
    request: (principal, params, call) => request({ ...deps, announce, tellEnded }, { principal, params, ...call }),
    wait: async (principal, id, signal) => {
      await findVisible(store, principal, id);
      return waitForEnd(deps, id, signal);
    },
    async resolve(principal, decision) {
      const maySee = (approval: ApprovalRecord): boolean => maySeeApproval(principal, approval);
      const outcome = await store.decide(decision, { ...toActor(principal), maySee }, clock.now());
      if (outcome.kind === "unknown") throw notFound();
      if (outcome.kind === "own-request") throw ownRequest();
      if (outcome.kind === "denied") throw mayNotDecide();
      if (outcome.kind === "not-offered") throw invalidDecision();
      if (outcome.kind === "already-decided") throw alreadyResolved();
      if (outcome.kind === "ambiguous") throw ambiguous(outcome.ids);
      await tellEnded([outcome.approval.id]);
    },
    find: (principal, id) => findVisible(store, principal, id),
    list: async (principal) => (await store.listPending(clock.now())).filter((approval) => maySeeApproval(principal, approval)),
    [Symbol.dispose]() {
      hearing.dispose();
      timer?.[Symbol.dispose]();
    },
  };
}

/** A request as approvers are shown it while it waits. */
export function toPending({ id, shown, requester, createdAtMs, expiresAtMs }: ApprovalRecord): PendingApproval {
  return { id, approvalKind: "exec", requestedBy: requester, request: shown, createdAtMs, expiresAtMs };
}

interface Requesting extends ApprovalsDeps {
  readonly announce: (approval: ApprovalRecord) => void;
  readonly tellEnded: (ids: Iterable<string>) => Promise<void>;
}

interface Asking {
  readonly principal: Principal;
  readonly params: Params<"exec.approval.request">;
  readonly signal: AbortSignal;
  readonly accept: (accepted: Accepted) => void;
}

async function request(deps: Requesting, { principal, params, signal, accept }: Asking): Promise<Decided> {
  if (Buffer.byteLength(JSON.stringify(params)) > maxRequestBytes) throw tooLarge(maxRequestBytes);
  const { decisions: _, ...ask } = toAsk(params);
  const { id = deps.ids.uuid(), approvalReviewerDeviceIds = [], timeoutMs = defaultTimeoutMs } = params;
  const createdAtMs = deps.clock.now();
  const expiresAtMs = createdAtMs + Math.min(timeoutMs, maxTimeoutMs);
  const approval = { id, requester: principal.id, reviewers: [...new Set(approvalReviewerDeviceIds)], ...ask, expiresAtMs };
  const isHeard = deps.connected().some((other) => mayDecideApproval(other, approval));
  const outcome = await deps.store.request(approval, createdAtMs);
  if (outcome === "id-taken") throw idTaken();
  if (outcome === "too-many") throw tooMany();
  if (!isHeard && params.requireDeliveryRoute === true) {
    await deps.store.cancel(id, createdAtMs);
    return { id, createdAtMs, expiresAtMs, decision: null, terminalReason: "no-route" };
  }
  deps.announce({ ...approval, createdAtMs, state: "pending", decision: undefined, decidedBy: undefined, decidedAtMs: undefined });
  const deliveryRoute = isHeard ? "approval-client" : "none";
  if (params.twoPhase === true) accept({ status: "accepted", id, createdAtMs, expiresAtMs, deliveryRoute });
  return waitForEnd(deps, id, signal);
}

/** Rejects with the signal's reason when nobody waits any more; the request stays. */
async function waitForEnd({ store, bus }: Pick<ApprovalsDeps, "store" | "bus">, id: string, signal: AbortSignal): Promise<Decided> {
  const { promise: ended, resolve, reject } = Promise.withResolvers<void>();
  const onAbort = (): void => reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  using _ = bus.subscribe("exec.approval.resolved", ({ payload }) => {
    if (payload.id === id) resolve();
  });
  try {
    signal.throwIfAborted();
    if ((await store.find(id))?.state === "pending") await ended;
    const approval = await store.find(id);
    if (approval === undefined) throw notFound();
    return toDecided(approval);
  } finally {
    signal.removeEventListener("abort", onAbort);
    ended.catch(() => undefined);
  }
}

function toDecided({ id, createdAtMs, expiresAtMs, state, ...approval }: ApprovalRecord): Decided {
  if (state === "pending") throw new ProtocolError("INTERNAL", "an approval that waits has no end");
  const times = { id, createdAtMs, expiresAtMs };
  if (state !== "decided") return { ...times, decision: null, terminalReason: state };
  return { ...times, decision: approval.decision ?? null, terminalReason: "resolved" };
}

async function findVisible(store: ApprovalStore, principal: Principal, id: string): Promise<ApprovalRecord> {
  const approval = await store.find(id);
  if (approval === undefined || !maySeeApproval(principal, approval)) throw notFound();
  return approval;
}

function boundTo({ requester, reviewers }: ApprovalRecord) {
  return { requester, reviewers };
}

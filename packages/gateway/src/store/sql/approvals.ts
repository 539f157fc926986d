/** Exec approvals in SQL. */
import { type ApprovalDecision, covers, type ShownRequest } from "@portreeve/protocol";
import { sql as raw } from "kysely";
import type { ApprovalRecord, ApprovalStore, ApprovalUse, DecideOutcome, NewApproval } from "../approvals.ts";
import type { Actor } from "../device-management.ts";
import { ceilingOf, liveGrant } from "../grants.ts";
import { writeAudit } from "./audit.ts";
import { readState } from "./device-rows.ts";
import type { ApprovalRow } from "./node-schema.ts";
import { type Args, row, type Sql, statement } from "./statement.ts";
import type { WriteQueue } from "./write-queue.ts";

const pendingOfOne = 32;
const pendingInAll = 1_024;
const endedKeptForMs = 7 * 86_400_000;

export function createApprovalStore(queue: WriteQueue): ApprovalStore {
  return {
    request: (approval, nowMs) => queue.transact((sql) => request(sql, approval, nowMs)),

    find: (id) => queue.read((sql) => toApproval(sql.first(findApproval, { id }))),

    listPending: (nowMs) => queue.read((sql) => sql.all(listPending, { now: nowMs }).flatMap((one) => toApproval(one) ?? [])),

    decide: (decision, by, nowMs) => queue.transact((sql) => decide(sql, { ...decision, by }, nowMs)),

    cancel: (id, nowMs) => queue.transact((sql) => toApproval(sql.first(end, { id, state: "cancelled", now: nowMs }))),

    expire: (nowMs) =>
      queue.transact((sql) => ({
        expired: sql.all(expire, { now: nowMs }).flatMap((one) => toApproval(one) ?? []),
        nextAtMs: sql.first(nextEnd, {})?.expires_at_ms,
      })),
  };
}

/** Uses an approval up, if it is for this effect, by whoever asked for it, allowed and not used or over. */
export function useApproval(sql: Sql, { id, requester, binding }: ApprovalUse, nowMs: number): boolean {
  const used = sql.first(use, { id, requester, binding, now: nowMs });
  if (used === undefined) return false;
  const facts = { decision: used.decision, nodeId: used.node_id, binding };
  writeAudit(sql, { kind: "approval.used", actor: requester, subject: id, facts }, nowMs);
  return true;
}

/** What a device or a node that is gone had asked for, or was asked about, stands no longer. */
export const endApprovalsOf = statement((db, arg: Args<{ requester: string; nodeId: string; now: number }>) =>
  db
    .updateTable("exec_approvals")
    .set({ state: "cancelled", decided_at_ms: arg("now") })
    .where((one) => one.or([one("requester", "=", arg("requester")), one("node_id", "=", arg("nodeId"))]))
    .where((one) => one.or([one("state", "=", "pending"), one.and([one("state", "=", "decided"), one("used_at_ms", "is", null)])])),
);

function request(sql: Sql, approval: NewApproval, nowMs: number): Awaited<ReturnType<ApprovalStore["request"]>> {
  sql.run(dropOld, { before: nowMs - endedKeptForMs });
  if (sql.first(findApproval, { id: approval.id }) !== undefined) return "id-taken";
  const waiting = sql.all(listPending, { now: nowMs });
  const own = waiting.filter((one) => one.requester === approval.requester);
  if (own.length >= pendingOfOne || waiting.length >= pendingInAll) return "too-many";
  const { id, requester, binding, nodeId, expiresAtMs } = approval;
  const undecided = { state: "pending", decision: null, decided_by: null, decided_at_ms: null, used_at_ms: null } as const;
  sql.run(insert, {
    approval_id: id,
    requester,
    reviewers: JSON.stringify(approval.reviewers),
    shown: JSON.stringify(approval.shown),
    binding,
    node_id: nodeId,
    ...undecided,
    created_at_ms: nowMs,
    expires_at_ms: expiresAtMs,
  });
  return "waits";
}

interface Decision {
  readonly id: string;
  readonly matchPrefix?: boolean | undefined;
  readonly decision: string;
  readonly by: Actor & { maySee(approval: ApprovalRecord): boolean };
}

function decide(sql: Sql, { decision, by, ...meant }: Decision, nowMs: number): DecideOutcome {
  const found = findMeant(sql, { by, ...meant });
  if (found.length > 1) return { kind: "ambiguous", ids: found.map(({ id }) => id) };
  const [approval] = found;
  if (approval === undefined) return { kind: "unknown" };
  const { id } = approval;
  if (approval.requester === by.id) return { kind: "own-request" };
  if (!mayStillDecide(sql, by, nowMs)) return { kind: "denied" };
  if (approval.state === "decided") return approval.decision === decision ? { kind: "repeated", approval } : { kind: "already-decided" };
  if (approval.state !== "pending" || approval.expiresAtMs <= nowMs) return { kind: "unknown" };
  const offered = approval.shown.allowedDecisions.find((one) => one === decision);
  if (offered === undefined) return { kind: "not-offered" };
  sql.run(settle, { id, decision: offered, decidedBy: by.id, now: nowMs });
  const { requester, nodeId } = approval;
  const facts = { decision: offered, requester, nodeId, binding: sql.first(findApproval, { id })?.binding };
  writeAudit(sql, { kind: "approval.decided", actor: by.id, subject: id, facts }, nowMs);
  return { kind: "decided", approval: { ...approval, state: "decided", decision: offered, decidedBy: by.id, decidedAtMs: nowMs } };
}

/** Whoever may not see an approval learns nothing of it, not even that it is there. */
function findMeant(sql: Sql, { id, matchPrefix, by }: Omit<Decision, "decision">): readonly ApprovalRecord[] {
  const exact = sql.first(findApproval, { id });
  const rows =
    exact === undefined && matchPrefix === true ? sql.all(listBeginning, { pattern: `${id.replace(/[%_\\]/g, "\\$&")}%` }) : [exact];
  return rows.flatMap((row) => toApproval(row) ?? []).filter((approval) => by.maySee(approval));
}

/** What a device may is read again: one that was removed or narrowed meanwhile decides nothing. */
function mayStillDecide(sql: Sql, { deviceId, scopes }: Actor, nowMs: number): boolean {
  if (deviceId === undefined) return true;
  const state = readState(sql, deviceId);
  const grant = state.kind === "paired" ? liveGrant(state.device, "operator") : undefined;
  return grant !== undefined && covers(ceilingOf(grant, nowMs), "operator.approvals") && covers(scopes, "operator.approvals");
}

function toApproval(one: ApprovalRow | undefined): ApprovalRecord | undefined {
  if (one === undefined) return undefined;
  return {
    id: one.approval_id,
    requester: one.requester,
    // Only this module writes these columns, from the same types.
    reviewers: JSON.parse(one.reviewers) as readonly string[],
    shown: JSON.parse(one.shown) as ShownRequest,
    state: one.state as ApprovalRecord["state"],
    decision: (one.decision ?? undefined) as ApprovalDecision | undefined,
    nodeId: one.node_id,
    createdAtMs: one.created_at_ms,
    expiresAtMs: one.expires_at_ms,
    decidedBy: one.decided_by ?? undefined,
    decidedAtMs: one.decided_at_ms ?? undefined,
  };
}

const findApproval = statement((db, arg: Args<{ id: string }>) =>
  db.selectFrom("exec_approvals").selectAll().where("approval_id", "=", arg("id")),
);

/** Ended ones too: a beginning that meant one of them must not come to mean another. */
const listBeginning = statement((db, arg: Args<{ pattern: string }>) =>
  db
    .selectFrom("exec_approvals")
    .selectAll()
    .where(raw<boolean>`lower(approval_id) like lower(${arg("pattern")}) escape '\\'`)
    .orderBy("created_at_ms")
    .orderBy("approval_id"),
);

const listPending = statement((db, arg: Args<{ now: number }>) =>
  db
    .selectFrom("exec_approvals")
    .selectAll()
    .where("state", "=", "pending")
    .where("expires_at_ms", ">", arg("now"))
    .orderBy("created_at_ms")
    .orderBy("approval_id"),
);

const insert = statement((db, arg: Args<ApprovalRow>) =>
  db.insertInto("exec_approvals").values(
    row(arg, {
      approval_id: true,
      requester: true,
      reviewers: true,
      shown: true,
      binding: true,
      node_id: true,
      state: true,
      decision: true,
      decided_by: true,
      decided_at_ms: true,
      used_at_ms: true,
      created_at_ms: true,
      expires_at_ms: true,
    }),
  ),
);

const settle = statement((db, arg: Args<{ id: string; decision: string; decidedBy: string; now: number }>) =>
  db
    .updateTable("exec_approvals")
    .set({ state: "decided", decision: arg("decision"), decided_by: arg("decidedBy"), decided_at_ms: arg("now") })
    .where("approval_id", "=", arg("id"))
    .where("state", "=", "pending"),
);

const end = statement((db, arg: Args<{ id: string; state: string; now: number }>) =>
  db
    .updateTable("exec_approvals")
    .set({ state: arg("state"), decided_at_ms: arg("now") })
    .where("approval_id", "=", arg("id"))
    .where("state", "=", "pending")
    .returningAll(),
);

const expire = statement((db, arg: Args<{ now: number }>) =>
  db
    .updateTable("exec_approvals")
    .set({ state: "expired", decided_at_ms: arg("now") })
    .where("state", "=", "pending")
    .where("expires_at_ms", "<=", arg("now"))
    .returningAll(),
);

const nextEnd = statement((db, _arg: Args<object>) =>
  db.selectFrom("exec_approvals").select("expires_at_ms").where("state", "=", "pending").orderBy("expires_at_ms").limit(1),
);

const use = statement((db, arg: Args<ApprovalUse & { now: number }>) =>
  db
    .updateTable("exec_approvals")
    .set({ used_at_ms: arg("now") })
    .where("approval_id", "=", arg("id"))
    .where("requester", "=", arg("requester"))
    .where("binding", "=", arg("binding"))
    .where("state", "=", "decided")
    .where("decision", "in", ["allow-once", "allow-always"])
    .where("used_at_ms", "is", null)
    .where("expires_at_ms", ">", arg("now"))
    .returning(["decision", "node_id"]),
);

const dropOld = statement((db, arg: Args<{ before: number }>) =>
  db.deleteFrom("exec_approvals").where("state", "!=", "pending").where("decided_at_ms", "<", arg("before")),
);

/** Nodes in SQL: one row for what is approved, one for what waits. */
import { randomBytes } from "node:crypto";
import { coversAll, maxCaps, maxCommands } from "@portreeve/protocol";
import type { Kysely } from "kysely";
import type { Actor } from "../device-management.ts";
import type { DeviceRecord } from "../device-store.ts";
import { liveGrant } from "../grants.ts";
import type { AskOutcome, NodeAsk, NodeDeclaration, NodeRecord, NodeRequestRecord, NodeStore, NodeSurface } from "../nodes.ts";
import { endApprovalsOf } from "./approvals.ts";
import { appendAudit } from "./audit.ts";
import { findState } from "./device-rows.ts";
import { authorityOf } from "./device-management.ts";
import type { NodeRequestRow, NodeRow } from "./node-schema.ts";
import type { Database } from "./schema.ts";
import { type Args, runAwaited, statement } from "./statement.ts";
import type { WriteQueue } from "./write-queue.ts";

export function createNodeStore(db: Kysely<Database>, queue: WriteQueue): NodeStore {
  return {
    declare: (declaration, nowMs) => queue.write((tx) => declare(tx, declaration, nowMs)),

    ask: (asked, actor, nowMs) => queue.write((tx) => ask(tx, { asked, actor }, nowMs)),

    find: (nodeId) =>
      queue.read((sql) => {
        const [pending, approved] = [sql.first(findRequest, { nodeId }), sql.first(findNode, { nodeId })];
        return { pending: pending && toRequest(pending), approved: approved && toNode(approved) };
      }),

    list: () => queue.read((sql) => ({ pending: sql.all(listRequests, {}).map(toRequest), paired: sql.all(listNodes, {}).map(toNode) })),

    approve: (requestId, approver, nowMs) => queue.write((tx) => approve(tx, { requestId, approver }, nowMs)),

    reject: (requestId, rejecter, nowMs) =>
      queue.write(async (tx) => {
        const found = await findDecidable(tx, requestId, rejecter, nowMs);
        if (found.kind !== "found") return found;
        const { nodeId } = found.request;
        await tx.deleteFrom("node_requests").where("node_id", "=", nodeId).execute();
        await appendAudit(tx, { kind: "node.rejected", actor: rejecter.id, subject: nodeId, facts: { requestId } }, nowMs);
        return { kind: "rejected", nodeId };
      }),

    remove: (nodeId, actor, nowMs) =>
      queue.write(async (tx) => {
        if (actor.ownDeviceOnly || (await authorityOf(tx, actor, nowMs)) === undefined) return { kind: "denied" };
        const waiting = await tx.deleteFrom("node_requests").where("node_id", "=", nodeId).returning("request_id").executeTakeFirst();
        const approved = await tx.deleteFrom("nodes").where("node_id", "=", nodeId).returning("node_id").executeTakeFirst();
        if (waiting === undefined && approved === undefined) return { kind: "unknown" };
        await tx.deleteFrom("node_work").where("node_id", "=", nodeId).execute();
        await runAwaited(tx, endApprovalsOf, { requester: `device:${nodeId}`, nodeId, now: nowMs });
        await appendAudit(tx, { kind: "node.removed", actor: actor.id, subject: nodeId, facts: {} }, nowMs);
        return { kind: "removed", requestId: waiting?.request_id };
      }),
  };
}

async function declare(tx: Kysely<Database>, declaration: NodeDeclaration, nowMs: number): ReturnType<NodeStore["declare"]> {
  const { nodeId } = declaration;
  // Removed or revoked since it was let in: its socket is being closed, and nothing of it is kept.
  const state = await findState(tx, nodeId);
  if (state.kind !== "paired" || liveGrant(state.device, "node") === undefined) return { kind: "covered", resolved: undefined };
  const approved = await tx.selectFrom("nodes").selectAll().where("node_id", "=", nodeId).executeTakeFirst();
  const waiting = await tx.selectFrom("node_requests").selectAll().where("node_id", "=", nodeId).executeTakeFirst();
  const isCovered = approved !== undefined && isWithin(declaration, parse(approved.declaration));
  if (!isCovered && waiting !== undefined && waiting.declaration === JSON.stringify(declaration))
    return { kind: "pending", request: toRequest(waiting), created: false, resolved: undefined };
  await tx.deleteFrom("node_requests").where("node_id", "=", nodeId).execute();
  if (isCovered) return { kind: "covered", resolved: waiting?.request_id };
  return { kind: "pending", request: await insertRequest(tx, declaration, nowMs), created: true, resolved: waiting?.request_id };
}

async function insertRequest(tx: Kysely<Database>, declaration: NodeDeclaration, nowMs: number): Promise<NodeRequestRecord> {
  const row = {
    node_id: declaration.nodeId,
    request_id: randomBytes(12).toString("hex"),
    declaration: JSON.stringify(declaration),
    created_at_ms: nowMs,
  };
  await tx.insertInto("node_requests").values(row).execute();
  return toRequest(row);
}

type Asking = { readonly asked: NodeAsk; readonly actor: Actor };

async function ask(tx: Kysely<Database>, { asked, actor }: Asking, nowMs: number): Promise<AskOutcome> {
  const { nodeId } = asked;
  if (actor.ownDeviceOnly || (await authorityOf(tx, actor, nowMs)) === undefined) return { kind: "denied" };
  const state = await findState(tx, nodeId);
  if (state.kind !== "paired" || liveGrant(state.device, "node") === undefined) return { kind: "unknown" };
  const approved = await tx.selectFrom("nodes").selectAll().where("node_id", "=", nodeId).executeTakeFirst();
  const waiting = await tx.selectFrom("node_requests").selectAll().where("node_id", "=", nodeId).executeTakeFirst();
  const before = waiting ?? approved;
  const base = before === undefined ? toUndeclared(state.device) : parse(before.declaration);
  const surface = { ...asked, permissions: {} };
  if (before !== undefined && isWithin(surface, base)) {
    if (waiting !== undefined) return { kind: "pending", request: toRequest(waiting), created: false, resolved: undefined };
    if (approved !== undefined) return { kind: "covered", node: toNode(approved) };
  }
  const merged = { ...base, caps: union(base.caps, asked.caps), commands: union(base.commands, asked.commands) };
  if (merged.caps.length > maxCaps || merged.commands.length > maxCommands) return { kind: "too-much" };
  await tx.deleteFrom("node_requests").where("node_id", "=", nodeId).execute();
  return { kind: "pending", request: await insertRequest(tx, merged, nowMs), created: true, resolved: waiting?.request_id };
}

/** What is known of a node that has not said anything, or whose words were rejected or removed. */
function toUndeclared(device: DeviceRecord): NodeDeclaration {
  const { deviceId, clientId, clientMode, displayName, platform = "unknown", deviceFamily } = device;
  const facts = { nodeId: deviceId, clientId, clientMode, displayName, platform, version: "unknown", deviceFamily };
  return { ...facts, modelIdentifier: undefined, caps: [], commands: [], permissions: {} };
}

function union(some: readonly string[], more: readonly string[]): readonly string[] {
  return [...new Set([...some, ...more])].toSorted();
}

type Approval = { readonly requestId: string; readonly approver: Parameters<NodeStore["approve"]>[1] };

async function approve(tx: Kysely<Database>, { requestId, approver }: Approval, nowMs: number): ReturnType<NodeStore["approve"]> {
  const found = await findDecidable(tx, requestId, approver, nowMs);
  if (found.kind !== "found") return found;
  const { nodeId, commands } = found.request;
  const beyond = approver.needs(commands).find((scope) => !coversAll(found.held, [scope]));
  if (beyond !== undefined) return { kind: "exceeds-approver", scope: beyond };

  const before = await tx.selectFrom("nodes").selectAll().where("node_id", "=", nodeId).executeTakeFirst();
  const row = { declaration: found.declaration, created_at_ms: before?.created_at_ms ?? nowMs, approved_at_ms: nowMs };
  await tx
    .insertInto("nodes")
    .values({ node_id: nodeId, ...row, work_revision: 0 })
    .onConflict((conflict) => conflict.column("node_id").doUpdateSet(row))
    .execute();
  await tx.deleteFrom("node_requests").where("node_id", "=", nodeId).execute();
  await appendAudit(tx, { kind: "node.approved", actor: approver.id, subject: nodeId, facts: { requestId, commands } }, nowMs);
  return { kind: "approved", node: toNode(row) };
}

/** A request that waits, if the actor may decide about nodes: a device that manages itself alone may not, also about itself. */
async function findDecidable(
  tx: Kysely<Database>,
  requestId: string,
  actor: Actor,
  nowMs: number,
): Promise<
  | { readonly kind: "found"; readonly request: NodeRequestRecord; readonly declaration: string; readonly held: readonly string[] }
  | { readonly kind: "unknown" }
  | { readonly kind: "denied" }
> {
  const held = (await authorityOf(tx, actor, nowMs))?.heldUntil(undefined);
  if (held === undefined || actor.ownDeviceOnly) return { kind: "denied" };
  const row = await tx.selectFrom("node_requests").selectAll().where("request_id", "=", requestId).executeTakeFirst();
  return row === undefined ? { kind: "unknown" } : { kind: "found", request: toRequest(row), declaration: row.declaration, held };
}

/** Less than what is approved needs no approval. */
function isWithin(declared: NodeSurface, approved: NodeSurface): boolean {
  return (
    declared.caps.every((cap) => approved.caps.includes(cap)) &&
    declared.commands.every((command) => approved.commands.includes(command)) &&
    Object.entries(declared.permissions).every(
      ([name, on]) => !on || (Object.hasOwn(approved.permissions, name) && approved.permissions[name] === true),
    )
  );
}

interface Labelled {
  readonly operator_label?: string | null;
}

function toRequest(row: NodeRequestRow & Labelled): NodeRequestRecord {
  return { ...parse(row.declaration), label: row.operator_label ?? undefined, requestId: row.request_id, createdAtMs: row.created_at_ms };
}

type ApprovedRow = Pick<NodeRow, "declaration" | "created_at_ms" | "approved_at_ms"> & Labelled;

function toNode(row: ApprovedRow): NodeRecord {
  const times = { createdAtMs: row.created_at_ms, approvedAtMs: row.approved_at_ms };
  return { ...parse(row.declaration), label: row.operator_label ?? undefined, ...times };
}

function parse(text: string): NodeDeclaration {
  // Only this module writes the column, from the same type.
  return JSON.parse(text) as NodeDeclaration;
}

const listRequests = statement((db, _arg: Args<object>) =>
  db
    .selectFrom("node_requests")
    .leftJoin("devices", "device_id", "node_id")
    .selectAll("node_requests")
    .select("operator_label")
    .orderBy("node_requests.created_at_ms", "desc"),
);

const listNodes = statement((db, _arg: Args<object>) =>
  db
    .selectFrom("nodes")
    .leftJoin("devices", "device_id", "node_id")
    .selectAll("nodes")
    .select("operator_label")
    .orderBy("nodes.approved_at_ms", "desc"),
);

const findRequest = statement((db, arg: Args<{ nodeId: string }>) =>
  db
    .selectFrom("node_requests")
    .leftJoin("devices", "device_id", "node_id")
    .selectAll("node_requests")
    .select("operator_label")
    .where("node_id", "=", arg("nodeId")),
);

const findNode = statement((db, arg: Args<{ nodeId: string }>) =>
  db
    .selectFrom("nodes")
    .leftJoin("devices", "device_id", "node_id")
    .selectAll("nodes")
    .select("operator_label")
    .where("node_id", "=", arg("nodeId")),
);

/** What is sent to nodes and what waits for them, in SQL. */
import { randomBytes } from "node:crypto";
import type { NodeDeclaration } from "../nodes.ts";
import type { NewInvocation, NodeTask, NodeWork, NodeWorkStore } from "../node-work.ts";
import { useApproval } from "./approvals.ts";
import type { InvocationRow, NodeWorkRow } from "./node-schema.ts";
import { type Args, row, type Sql, statement } from "./statement.ts";
import type { WriteQueue } from "./write-queue.ts";

const keysKeptForMs = 86_400_000;

export function createNodeWorkStore(queue: WriteQueue): NodeWorkStore {
  return {
    beginInvocation: (invocation, nowMs) => queue.transact((sql) => beginInvocation(sql, invocation, nowMs)),

    dropInvocation: ({ principal, key }) => queue.transact((sql) => void sql.run(dropInvocation, { principal, key })),

    enqueue: ({ nodeId, type, priority, expiresAtMs }, nowMs) =>
      queue.transact((sql) => {
        sql.run(dropExpired, { now: nowMs });
        const revision = sql.first(raiseRevision, { nodeId })?.work_revision;
        if (revision === undefined) return undefined;
        const waiting = sql.first(findWork, { nodeId, type });
        const work: NodeWorkRow = {
          node_id: nodeId,
          type,
          work_id: waiting?.work_id ?? randomBytes(12).toString("hex"),
          is_urgent: priority === "high" || waiting?.is_urgent === 1 ? 1 : 0,
          created_at_ms: waiting?.created_at_ms ?? nowMs,
          expires_at_ms: Math.max(expiresAtMs, waiting?.expires_at_ms ?? 0),
        };
        sql.run(removeWork, { nodeId, id: work.work_id });
        sql.run(insertWork, work);
        return { revision, queued: toWork(work) };
      }),

    listWork: (nodeId, nowMs) =>
      queue.read((sql) => ({
        revision: sql.first(findRevision, { nodeId })?.work_revision ?? 0,
        items: sql.all(listWork, { nodeId, now: nowMs }).map(toWork),
      })),

    finishWork: (nodeId, ids, nowMs) =>
      queue.transact((sql) => {
        const done = [...new Set(ids)].filter((id) => sql.run(removeWork, { nodeId, id }) > 0);
        if (done.length > 0) sql.first(raiseRevision, { nodeId });
        return { done, left: sql.all(listWork, { nodeId, now: nowMs }).length };
      }),
  };
}

function beginInvocation(
  sql: Sql,
  { principal, key, fingerprint, nodeId, command, approval }: NewInvocation,
  nowMs: number,
): Awaited<ReturnType<NodeWorkStore["beginInvocation"]>> {
  sql.run(dropOldInvocations, { before: nowMs - keysKeptForMs });
  const known = sql.first(findInvocation, { principal, key });
  if (known !== undefined) return known.fingerprint === fingerprint ? "repeated" : "other-ask";
  const node = sql.first(findApproved, { nodeId });
  if (node === undefined) return "node-unapproved";
  // Only the store of nodes writes the column.
  if (!(JSON.parse(node.declaration) as NodeDeclaration).commands.includes(command)) return "command-unapproved";
  if (approval !== undefined && !useApproval(sql, approval, nowMs)) return "approval-unusable";
  sql.run(insertInvocation, { principal, idempotency_key: key, fingerprint, created_at_ms: nowMs });
  return "begun";
}

function toWork(one: NodeWorkRow): NodeWork {
  return {
    id: one.work_id,
    // Only this module writes the column.
    type: one.type as NodeTask,
    priority: one.is_urgent === 1 ? "high" : "normal",
    createdAtMs: one.created_at_ms,
    expiresAtMs: one.expires_at_ms,
  };
}

const findApproved = statement((db, arg: Args<{ nodeId: string }>) =>
  db.selectFrom("nodes").select("declaration").where("node_id", "=", arg("nodeId")),
);

const findInvocation = statement((db, arg: Args<{ principal: string; key: string }>) =>
  db
    .selectFrom("node_invocations")
    .select("fingerprint")
    .where("principal", "=", arg("principal"))
    .where("idempotency_key", "=", arg("key")),
);

const insertInvocation = statement((db, arg: Args<InvocationRow>) =>
  db.insertInto("node_invocations").values(row(arg, { principal: true, idempotency_key: true, fingerprint: true, created_at_ms: true })),
);

const dropInvocation = statement((db, arg: Args<{ principal: string; key: string }>) =>
  db.deleteFrom("node_invocations").where("principal", "=", arg("principal")).where("idempotency_key", "=", arg("key")),
);

const dropOldInvocations = statement((db, arg: Args<{ before: number }>) =>
  db.deleteFrom("node_invocations").where("created_at_ms", "<", arg("before")),
);

const findRevision = statement((db, arg: Args<{ nodeId: string }>) =>
  db.selectFrom("nodes").select("work_revision").where("node_id", "=", arg("nodeId")),
);

const raiseRevision = statement((db, arg: Args<{ nodeId: string }>) =>
  db
    .updateTable("nodes")
    .set((build) => ({ work_revision: build("work_revision", "+", 1) }))
    .where("node_id", "=", arg("nodeId"))
    .returning("work_revision"),
);

const findWork = statement((db, arg: Args<{ nodeId: string; type: string }>) =>
  db.selectFrom("node_work").selectAll().where("node_id", "=", arg("nodeId")).where("type", "=", arg("type")),
);

const insertWork = statement((db, arg: Args<NodeWorkRow>) =>
  db
    .insertInto("node_work")
    .values(row(arg, { node_id: true, type: true, work_id: true, is_urgent: true, created_at_ms: true, expires_at_ms: true })),
);

const removeWork = statement((db, arg: Args<{ nodeId: string; id: string }>) =>
  db.deleteFrom("node_work").where("node_id", "=", arg("nodeId")).where("work_id", "=", arg("id")),
);

const dropExpired = statement((db, arg: Args<{ now: number }>) => db.deleteFrom("node_work").where("expires_at_ms", "<=", arg("now")));

const listWork = statement((db, arg: Args<{ nodeId: string; now: number }>) =>
  db
    .selectFrom("node_work")
    .selectAll()
    .where("node_id", "=", arg("nodeId"))
    .where("expires_at_ms", ">", arg("now"))
    .orderBy("is_urgent", "desc")
    .orderBy("created_at_ms")
    .orderBy("type"),
);

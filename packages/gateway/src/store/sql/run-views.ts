/** Runs as their operators see them, in SQL. */
import type { RunDetails, RunFilter, RunView, RunViewStore, WaitsFor } from "../run-views.ts";
import type { RunRecord } from "../store.ts";
import { deliveryOf, dismissResult, listHops, redeliverResult, unsettledRows } from "./deliveries.ts";
import type { Ids } from "../../kit/ids.ts";
import { isBelow } from "./lineage.ts";
import { findRun, toRunRecord, parseEntry } from "./run-rows.ts";
import type { Kysely } from "kysely";
import type { Database, JournalRow, RunTableRow } from "./schema.ts";
import { openStatuses } from "./session-rows.ts";
import { type Args, type Sql, statement } from "./statement.ts";
import type { WriteQueue } from "./write-queue.ts";

/** How many of a run's open children are named, and how many failed model calls are told. */
const named = 20;

export function createRunViewStore(queue: WriteQueue, ids: Ids): RunViewStore {
  return {
    list: (filter) => queue.read((sql) => selectRuns(sql, filter).map((run) => toView(sql, toRunRecord(run)))),
    find: (id, { rootKey }) =>
      queue.read((sql) => {
        const found = findRun(sql, id) ?? sql.first(byWireId, { wireId: id, rootKey: rootKey ?? null });
        // A run of another tree is not there for whoever sees only one.
        if (found === undefined || (rootKey !== undefined && found.root_session_key !== rootKey)) return undefined;
        return toDetails(sql, toRunRecord(found));
      }),
    listTree: (runId, limit) => queue.read((sql) => listTree(sql, runId, limit)),
    findBelow: (sessionKey, id) =>
      queue.read((sql) => {
        const run = findRun(sql, id) ?? sql.first(newestIn, { sessionKey: id });
        return run === undefined || !isBelow(sql, run.session_key, sessionKey) ? undefined : toView(sql, toRunRecord(run));
      }),
    sumUp: (sessionKey) =>
      queue.read((sql) => {
        const { input, output } = sql.first(sumUsage, { sessionKey }) ?? { input: null, output: null };
        const children = sql.first(countDelegated, { sessionKey });
        return {
          usage: { input: input ?? 0, output: output ?? 0, totalTokens: (input ?? 0) + (output ?? 0) },
          children: { total: children?.total ?? 0, open: children?.open ?? 0 },
          open: sql.all(openIn, { sessionKey }).map(toRunRecord),
        };
      }),
    listBelow: (sessionKey, { depth, limit }) =>
      queue.read((sql) =>
        sql
          .all(depth === "all" ? below : childrenFor, { sessionKey, limit })
          .toSorted(newestFirst)
          .map((run) => toView(sql, toRunRecord(run))),
      ),
    listSubagents: (sessionKey) => queue.read((sql) => sql.all(subagentsBelow, { sessionKey }).map((one) => one.session_key)),
    retryDelivery: (runId, by, nowMs) => queue.transact((sql) => redeliverResult(sql, ids, { runId, by, nowMs })),
    dismissDelivery: (runId, by, nowMs) => queue.transact((sql) => dismissResult(sql, { runId, by, nowMs })),
  };
}

function newestFirst(a: RunTableRow, b: RunTableRow): number {
  return b.created_at_ms - a.created_at_ms || (b.run_id < a.run_id ? -1 : 1);
}

function toView(sql: Sql, run: RunRecord): RunView {
  const { runId } = run;
  const counts = sql.first(countChildren, { runId });
  return {
    run,
    children: { total: counts?.total ?? 0, open: counts?.open ?? 0 },
    waitsFor: toWaitsFor(sql, run),
    delivery: deliveryOf(sql, run),
  };
}

function toWaitsFor(sql: Sql, run: RunRecord): WaitsFor | undefined {
  if (run.status === "waiting") {
    const children = sql.all(openChildrenOf, { runId: run.runId });
    return children.length === 0 ? undefined : { kind: "children", runIds: children.map((one) => one.run_id) };
  }
  if (run.status !== "queued") return undefined;
  const working = sql.first(workingIn, { sessionKey: run.sessionKey });
  if (working !== undefined) return { kind: "session", runId: working.run_id };
  return run.authority.depth > 0 ? { kind: "slot" } : undefined;
}

function toDetails(sql: Sql, run: RunRecord): RunDetails {
  const ancestors: RunView[] = [];
  const seen = new Set([run.runId]);
  for (let next = run.parentRunId; next !== undefined && !seen.has(next);) {
    seen.add(next);
    const parent = findRun(sql, next);
    if (parent === undefined) break;
    ancestors.unshift(toView(sql, toRunRecord(parent)));
    next = parent.parent_run_id ?? undefined;
  }
  const entries = sql.all(journalOf, { runId: run.runId });
  return { ...toView(sql, run), ancestors, attempts: toAttempts(entries), deliveries: listHops(sql, run.runId) };
}

function toAttempts(rows: readonly Pick<JournalRow, "epoch" | "at_ms" | "entry">[]): RunDetails["attempts"] {
  const entries = rows.flatMap(({ entry: text, ...row }) => {
    const entry = parseEntry(text);
    return entry === undefined ? [] : [{ ...row, entry }];
  });
  const failures = entries.flatMap(({ at_ms: atMs, entry }) =>
    entry.kind === "model-error" ? [{ atMs, errorKind: entry.errorKind, message: entry.message }] : [],
  );
  return {
    // The end has an epoch of its own, which no worker claimed.
    claims: new Set(entries.flatMap(({ epoch, entry }) => (entry.kind === "ended" ? [] : [epoch]))).size,
    modelCalls: failures.length + entries.filter(({ entry }) => entry.kind === "reply").length,
    toolCalls: entries.filter(({ entry }) => entry.kind === "tool-result").length,
    failures: failures.slice(-named),
  };
}

function listTree(sql: Sql, runId: string, limit: number): { runs: readonly RunView[]; isCut: boolean } {
  const top = findRun(sql, runId);
  const found = new Map<string, RunTableRow>();
  let isCut = false;
  const visit = (run: RunTableRow): void => {
    if (found.has(run.run_id)) return;
    isCut ||= found.size >= limit;
    if (isCut) return;
    found.set(run.run_id, run);
    for (const child of sql.all(childrenOf, { runId: run.run_id })) visit(child);
  };
  if (top !== undefined) visit(top);
  return { runs: [...found.values()].map((run) => toView(sql, toRunRecord(run))), isCut };
}

function selectRuns(sql: Sql, filter: RunFilter): readonly RunTableRow[] {
  const { rootKey, sessionKey, parentSessionKey, trigger, agentId, statuses, after } = filter;
  return sql.query((db) =>
    db
      .selectFrom("runs")
      .selectAll()
      .$if(rootKey !== undefined, (query) => query.where("root_session_key", "=", rootKey ?? ""))
      .$if(sessionKey !== undefined, (query) => query.where("session_key", "=", sessionKey ?? ""))
      .$if(parentSessionKey !== undefined, (query) => query.where("parent_session_key", "=", parentSessionKey ?? ""))
      .$if(trigger !== undefined, (query) => query.where("trigger", "=", trigger ?? "spawn"))
      .$if(agentId !== undefined, (query) => query.where("agent_id", "=", agentId ?? ""))
      .$if(statuses !== undefined, (query) => query.where("status", "in", statuses ?? []))
      .$if(filter.undelivered === true, (query) => query.where((build) => build.exists(unsettledRows(build))))
      .$if(after !== undefined, (query) =>
        query.where((build) =>
          build.or([
            build("created_at_ms", "<", after?.createdAtMs ?? 0),
            build.and([build("created_at_ms", "=", after?.createdAtMs ?? 0), build("run_id", "<", after?.runId ?? "")]),
          ]),
        ),
      )
      .orderBy("created_at_ms", "desc")
      .orderBy("run_id", "desc")
      .limit(filter.limit),
  );
}

// ---- statements

/** `rootKey` null: of every tree. */
const byWireId = statement((db, arg: Args<{ wireId: string; rootKey: string | null }>) =>
  db
    .selectFrom("runs")
    .selectAll()
    .where("wire_id", "=", arg("wireId"))
    .where((build) => build.or([build(build.val(arg("rootKey")), "is", null), build("root_session_key", "=", arg("rootKey"))]))
    .orderBy("created_at_ms", "desc")
    .limit(1),
);

const countChildren = statement((db, arg: Args<{ runId: string }>) =>
  db
    .selectFrom("runs")
    .select((build) => [
      build.fn.countAll<number>().as("total"),
      build.fn.countAll<number>().filterWhere("status", "in", openStatuses).as("open"),
    ])
    .where("parent_run_id", "=", arg("runId")),
);

const openChildrenOf = statement((db, arg: Args<{ runId: string }>) =>
  db
    .selectFrom("runs")
    .select("run_id")
    .where("parent_run_id", "=", arg("runId"))
    .where("expects_completion", "=", 1)
    .where("status", "in", openStatuses)
    .orderBy("created_at_ms", "desc")
    .orderBy("run_id", "desc")
    .limit(named),
);

const childrenOf = statement((db, arg: Args<{ runId: string }>) =>
  db.selectFrom("runs").selectAll().where("parent_run_id", "=", arg("runId")).orderBy("created_at_ms").orderBy("run_id"),
);

const sumUsage = statement((db, arg: Args<{ sessionKey: string }>) =>
  db
    .selectFrom("runs")
    .select((build) => [build.fn.sum<number | null>("usage_input").as("input"), build.fn.sum<number | null>("usage_output").as("output")])
    .where("session_key", "=", arg("sessionKey")),
);

const countDelegated = statement((db, arg: Args<{ sessionKey: string }>) =>
  db
    .selectFrom("runs")
    .select((build) => [
      build.fn.countAll<number>().as("total"),
      build.fn.countAll<number>().filterWhere("status", "in", openStatuses).as("open"),
    ])
    .where("parent_session_key", "=", arg("sessionKey")),
);

const openIn = statement((db, arg: Args<{ sessionKey: string }>) =>
  db
    .selectFrom("runs")
    .selectAll()
    .where("session_key", "=", arg("sessionKey"))
    .where("status", "in", openStatuses)
    .orderBy("created_at_ms")
    .orderBy("run_id"),
);

const newestIn = statement((db, arg: Args<{ sessionKey: string }>) =>
  db
    .selectFrom("runs")
    .selectAll()
    .where("session_key", "=", arg("sessionKey"))
    .orderBy("created_at_ms", "desc")
    .orderBy("run_id", "desc")
    .limit(1),
);

const childrenFor = statement((db, arg: Args<{ sessionKey: string; limit: number }>) =>
  db
    .selectFrom("runs")
    .selectAll()
    .where("parent_session_key", "=", arg("sessionKey"))
    .orderBy((build) => build("ended_at_ms", "is not", null))
    .orderBy("created_at_ms", "desc")
    .orderBy("run_id", "desc")
    .limit(arg("limit")),
);

/** Lineage of runs, not of sessions: those of deleted sessions are still somebody's. */
function runsBelow(db: Kysely<Database>, sessionKey: string) {
  return db
    .withRecursive("lower(session_key)", (build) =>
      build
        .selectFrom("runs")
        .select("runs.session_key")
        .where("runs.parent_session_key", "=", sessionKey)
        .union(build.selectFrom("runs").innerJoin("lower", "lower.session_key", "runs.parent_session_key").select("runs.session_key")),
    )
    .selectFrom("runs")
    .where("runs.session_key", "in", (build) => build.selectFrom("lower").select("lower.session_key"));
}

const below = statement((db, arg: Args<{ sessionKey: string; limit: number }>) =>
  runsBelow(db, arg("sessionKey"))
    .selectAll("runs")
    .orderBy((build) => build("runs.ended_at_ms", "is not", null))
    .orderBy("runs.created_at_ms", "desc")
    .orderBy("runs.run_id", "desc")
    .limit(arg("limit")),
);

const subagentsBelow = statement((db, arg: Args<{ sessionKey: string }>) =>
  runsBelow(db, arg("sessionKey"))
    .select("runs.session_key")
    .where("runs.trigger", "=", "spawn")
    .orderBy("runs.created_at_ms")
    .orderBy("runs.run_id"),
);

const workingIn = statement((db, arg: Args<{ sessionKey: string }>) =>
  db.selectFrom("runs").select("run_id").where("session_key", "=", arg("sessionKey")).where("status", "=", "running").limit(1),
);

const journalOf = statement((db, arg: Args<{ runId: string }>) =>
  db.selectFrom("journal").select(["epoch", "at_ms", "entry"]).where("run_id", "=", arg("runId")).orderBy("seq"),
);

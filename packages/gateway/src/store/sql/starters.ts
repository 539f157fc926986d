/** Whose runs are whose: a run belongs to the first that started it, through every run in between. */
import { findRun, readRun } from "./run-rows.ts";
import type { RunTableRow } from "./schema.ts";
import { openStatuses } from "./session-rows.ts";
import { type Args, type Sql, statement } from "./statement.ts";

/** Parents before children. */
export function listOpenRunsOf(sql: Sql, starter: string): readonly RunTableRow[] {
  return sql
    .all(openRuns, {})
    .filter((run) => starterOf(sql, run) === starter)
    .sort((a, b) => a.depth - b.depth);
}

/** Takes what the starter's runs left to be read: nobody is waiting for it any more. */
export function dropUnreadResultsOf(sql: Sql, starter: string, { by, nowMs }: { by: string; nowMs: number }): void {
  for (const { inbox_id, child_run_id } of sql.all(unread, {})) {
    if (starterOf(sql, readRun(sql, child_run_id)) === starter) sql.run(drop, { inbox_id, by, nowMs });
  }
}

/** Everybody of whom a run has not ended or a result was not read. */
export function listStarters(sql: Sql): readonly string[] {
  const children = sql.all(unread, {}).map(({ child_run_id }) => readRun(sql, child_run_id));
  return [...new Set([...sql.all(openRuns, {}), ...children].map((run) => starterOf(sql, run)))];
}

function starterOf(sql: Sql, { started_by }: Pick<RunTableRow, "started_by">): string {
  const parent = started_by.startsWith("run:") ? findRun(sql, started_by.slice("run:".length)) : undefined;
  return parent === undefined ? started_by : starterOf(sql, parent);
}

// ---- statements

const openRuns = statement((db, _arg: Args<object>) => db.selectFrom("runs").selectAll().where("status", "in", openStatuses));

const unread = statement((db, _arg: Args<object>) =>
  db.selectFrom("inbox").select(["inbox_id", "child_run_id"]).where("consumed_at_ms", "is", null),
);

const drop = statement((db, arg: Args<{ inbox_id: string; by: string; nowMs: number }>) =>
  db
    .updateTable("inbox")
    .set({ consumed_at_ms: arg("nowMs"), closed_as: "dismissed", closed_by: arg("by") })
    .where("inbox_id", "=", arg("inbox_id")),
);

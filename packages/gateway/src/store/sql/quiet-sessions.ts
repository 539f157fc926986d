/** Children's sessions in which nothing is left to do, with all that was delegated from them: they are archived, or go. */
import { type ExpressionBuilder, type Kysely, sql as raw } from "kysely";
import { unsettledRows } from "./deliveries.ts";
import type { Database } from "./schema.ts";
import { openStatuses } from "./session-rows.ts";
import { type Args, type Sql, statement } from "./statement.ts";

/** Keys of those that are to be deleted. */
export function listToCleanUp(sql: Sql): readonly string[] {
  return sql.all(readChildren, {}).map((one) => one.session_key);
}

/** Answers the keys of those it has archived. */
export function archiveChildren(sql: Sql, beforeMs: number, nowMs: number): readonly string[] {
  return sql.all(archiveQuiet, { beforeMs, nowMs }).map((one) => one.session_key);
}

/** A run of the session at hand that has not ended. */
export function openRunIn(build: ExpressionBuilder<Database, "sessions">) {
  return build
    .selectFrom("runs")
    .select("run_id")
    .whereRef("runs.session_key", "=", "sessions.session_key")
    .where("status", "in", openStatuses);
}

/**
 * Runs of the session at hand and of all below it that have not ended, or whose result has not safely reached anybody: a stop
 * reaches what is at work below, and what may still be asked about stays in sight. By the lineage of runs, as a stop is.
 */
function unsettledWithin(db: Kysely<Database>) {
  return db
    .withRecursive("within(session_key)", (build) =>
      build
        .selectNoFrom(raw.ref<string>("sessions.session_key").as("session_key"))
        .union(build.selectFrom("runs").innerJoin("within", "within.session_key", "runs.parent_session_key").select("runs.session_key")),
    )
    .selectFrom("within")
    .innerJoin("runs", "runs.session_key", "within.session_key")
    .select("runs.run_id")
    .where((build) => build.or([build("runs.status", "in", openStatuses), build.exists(unsettledRows(build))]));
}

// ---- statements

const archiveQuiet = statement((db, arg: Args<{ beforeMs: number; nowMs: number }>) =>
  db
    .updateTable("sessions")
    .set({ archived_at_ms: arg("nowMs") })
    .where("parent_key", "is not", null)
    .where("archived_at_ms", "is", null)
    .where("updated_at_ms", "<=", arg("beforeMs"))
    .where((build) => build.not(build.exists(unsettledWithin(db))))
    .returning("session_key"),
);

/** Only children have a session that is to be deleted. */
const readChildren = statement((db, _arg: Args<object>) =>
  db
    .selectFrom("sessions")
    .select("session_key")
    .where("cleanup", "=", "delete")
    .where((build) =>
      build.exists(
        build
          .selectFrom("runs")
          .select("run_id")
          .whereRef("runs.session_key", "=", "sessions.session_key")
          .where("trigger", "=", "spawn")
          .where("ended_at_ms", "is not", null),
      ),
    )
    .where((build) => build.not(build.exists(unsettledWithin(db)))),
);

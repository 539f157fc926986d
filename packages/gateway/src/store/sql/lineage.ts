/** Which sessions stand above and below one. */
import type { ExpressionBuilder, Kysely } from "kysely";
import type { Database } from "./schema.ts";
import { findSession } from "./session-rows.ts";
import { type Args, type Sql, statement } from "./statement.ts";

/** Whether the session was delegated to from `top`, or from one below it. */
export function isBelow(sql: Sql, sessionKey: string, top: string): boolean {
  const seen = new Set<string>();
  for (let key: string | undefined = sessionKey; key !== undefined && !seen.has(key);) {
    seen.add(key);
    // A session may have got its lineage without a spawn; a deleted one still has its runs.
    key = sql.first(delegatorOf, { sessionKey: key })?.parent_session_key ?? findSession(sql, key)?.parent_key ?? undefined;
    if (key === top) return true;
  }
  return false;
}

/** Whether the session is `around`, below it, or above it with none of another agent between. */
export function isAround(sql: Sql, sessionKey: string, around: string): boolean {
  return sql.all(above, { around }).some((one) => one.session_key === sessionKey) || isBelow(sql, sessionKey, around);
}

/** For a filter on sessions: `isAround`. */
export function areAround(build: ExpressionBuilder<Database, "sessions">, db: Kysely<Database>, around: string) {
  return build.or([build("session_key", "in", keysBelow(db, around)), build("session_key", "in", keysAbove(db, around))]);
}

function keysBelow(db: Kysely<Database>, around: string) {
  return db
    .withRecursive("below(session_key)", (build) =>
      build
        .selectNoFrom((row) => row.val(around).as("session_key"))
        .union(build.selectFrom("runs").innerJoin("below", "below.session_key", "runs.parent_session_key").select("runs.session_key"))
        .union(build.selectFrom("sessions").innerJoin("below", "below.session_key", "sessions.parent_key").select("sessions.session_key")),
    )
    .selectFrom("below")
    .select("below.session_key");
}

/** The session itself, and what is above it as long as it is of the same agent. */
function keysAbove(db: Kysely<Database>, around: string) {
  return db
    .withRecursive("above(session_key, parent_key, agent_id)", (build) =>
      build
        .selectFrom("sessions")
        .select(["session_key", "parent_key", "agent_id"])
        .where("session_key", "=", around)
        .union(
          build
            .selectFrom("above")
            .innerJoin("sessions", (on) =>
              on.onRef("sessions.session_key", "=", "above.parent_key").onRef("sessions.agent_id", "=", "above.agent_id"),
            )
            .select(["sessions.session_key", "sessions.parent_key", "sessions.agent_id"]),
        ),
    )
    .selectFrom("above")
    .select("above.session_key");
}

// ---- statements

const above = statement((db, arg: Args<{ around: string }>) => keysAbove(db, arg("around")));

const delegatorOf = statement((db, arg: Args<{ sessionKey: string }>) =>
  db
    .selectFrom("runs")
    .select("parent_session_key")
    .where("session_key", "=", arg("sessionKey"))
    .where("parent_session_key", "is not", null)
    .limit(1),
);

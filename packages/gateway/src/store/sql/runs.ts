/** The run store in SQL: each method one transaction, the statements in the files beside this one. */
import type { Kysely } from "kysely";
import type { Ids } from "../../kit/ids.ts";
import type { RunStore } from "../store.ts";
import { admitRun, ensureAnnounceRun, spawnChild } from "./admission.ts";
import { claimRuns } from "./claiming.ts";
import { appendToRun, cancelRuns, endRun, expireRuns, openChildrenOf, parkRun } from "./ending.ts";
import { toRunRecord } from "./run-rows.ts";
import type { Database } from "./schema.ts";
import { openStatuses } from "./sessions.ts";
import type { WriteQueue } from "./write-queue.ts";

export function createRunStore(db: Kysely<Database>, queue: WriteQueue, ids: Ids): RunStore {
  return {
    ...createRunReads(db),
    admit: (run, nowMs) => queue.write((tx) => admitRun(tx, ids, run, nowMs)),
    spawn: (child, nowMs) => queue.write((tx) => spawnChild(tx, ids, child, nowMs)),
    claim: (claimer, nowMs) => queue.write((tx) => claimRuns(tx, ids, claimer, nowMs)),
    append: (runId, epoch, entries, messages, nowMs) =>
      queue.write((tx) => appendToRun(tx, ids, { runId, epoch, nowMs }, entries, messages)),
    park: (runId, epoch, eventSeq, nowMs) => queue.write((tx) => parkRun(tx, runId, epoch, eventSeq, nowMs)),
    end: (runId, epoch, ending, messages, nowMs) => queue.write((tx) => endRun(tx, ids, { runId, epoch, nowMs }, ending, messages)),
    cancel: (select, partials, nowMs) => queue.write((tx) => cancelRuns(tx, ids, select, partials, nowMs)),
    expire: (nowMs) => queue.write((tx) => expireRuns(tx, ids, nowMs)),

    renew: (owner, runIds, leaseMs, nowMs) =>
      queue.write(async (tx) => {
        const rows = await tx
          .updateTable("runs")
          .set({ lease_until_ms: nowMs + leaseMs })
          .where("status", "=", "running")
          .where("lease_owner", "=", owner)
          .where("run_id", "in", runIds)
          .returning("run_id")
          .execute();
        return rows.map((row) => row.run_id);
      }),

    releaseAll: () =>
      queue.write(async (tx) => {
        await tx.updateTable("runs").set({ lease_owner: null, lease_until_ms: 0 }).where("status", "=", "running").execute();
      }),

    ensureDelivery: (nowMs) =>
      queue.write(async (tx) => {
        const sessions = await tx.selectFrom("inbox").select("session_key").distinct().where("consumed_at_ms", "is", null).execute();
        for (const { session_key } of sessions) await ensureAnnounceRun(tx, ids, session_key, nowMs);
      }),
  };
}

type Reads = "openChildren" | "nextDeadline" | "find" | "findByWireId" | "counts";

function createRunReads(db: Kysely<Database>): Pick<RunStore, Reads> {
  return {
    openChildren: (runId) => openChildrenOf(db, runId),

    async nextDeadline() {
      const row = await db
        .selectFrom("runs")
        .select((build) => build.fn.min("deadline_at_ms").as("at"))
        .where("status", "in", openStatuses)
        .executeTakeFirst();
      return row?.at ?? undefined;
    },

    async find(runId) {
      const row = await db.selectFrom("runs").selectAll().where("run_id", "=", runId).executeTakeFirst();
      return row === undefined ? undefined : toRunRecord(row);
    },

    async findByWireId(wireId, view) {
      const row = await db
        .selectFrom("runs")
        .selectAll()
        .where("wire_id", "=", wireId)
        .$if(view.rootKey !== undefined, (query) => query.where("root_session_key", "=", view.rootKey ?? ""))
        .orderBy("created_at_ms", "desc")
        .limit(1)
        .executeTakeFirst();
      return row === undefined ? undefined : toRunRecord(row);
    },

    async counts() {
      const groups = await db
        .selectFrom("runs")
        .select((build) => ["status", "trigger", build.fn.countAll<number>().as("n")])
        .groupBy(["status", "trigger"])
        .execute();
      const byStatus: Record<string, number> = {};
      for (const group of groups) byStatus[group.status] = (byStatus[group.status] ?? 0) + group.n;
      const children = groups.filter((group) => group.trigger === "spawn");
      const sum = (rows: readonly { n: number }[]): number => rows.reduce((total, row) => total + row.n, 0);
      const inbox = await db
        .selectFrom("inbox")
        .select((build) => [build.fn.countAll<number>().as("n"), build.fn.count<number>("consumed_at_ms").as("consumed")])
        .executeTakeFirstOrThrow();
      return {
        byStatus,
        children: {
          accepted: sum(children),
          completed: sum(children.filter((group) => group.status === "succeeded")),
          announced: inbox.consumed,
          undelivered: inbox.n - inbox.consumed,
        },
      };
    },
  };
}

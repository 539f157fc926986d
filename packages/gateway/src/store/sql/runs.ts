/** The run store in SQL: each method one transaction, the statements in the files beside this one. */
import { sql as raw } from "kysely";
import type { Ids } from "../../kit/ids.ts";
import type { RunStore } from "../store.ts";
import { absorbSteering, hasSteering } from "./absorbing.ts";
import { admitRun, findReplay, spawnChild } from "./admission.ts";
import { ensureAnnounceRun } from "./announcing.ts";
import { releaseReservations } from "./budgets.ts";
import { cancelRuns, expireRuns } from "./cancelling.ts";
import { claimRuns, extendLease } from "./claiming.ts";
import { isUnsettled } from "./deliveries.ts";
import { appendToRun, endRun, openChildrenOf, parkRun } from "./ending.ts";
import { findRun, toRunRecord } from "./run-rows.ts";
import { listStarters } from "./starters.ts";
import { type Args, statement } from "./statement.ts";
import type { WriteQueue } from "./write-queue.ts";

export function createRunStore(queue: WriteQueue, ids: Ids): RunStore {
  return {
    ...createRunReads(queue),
    admit: (run, nowMs, partials = new Map()) => queue.transact((sql) => admitRun(sql, ids, run, partials, nowMs)),
    spawn: (child, nowMs) => queue.transact((sql) => spawnChild(sql, ids, child, nowMs)),
    claim: (claimer, now) => queue.transact((sql) => claimRuns(sql, ids, claimer, now())),
    async absorb({ runId, sessionKey, epoch }, nowMs) {
      if (!(await queue.read((sql) => hasSteering(sql, sessionKey)))) return { kind: "nothing" };
      return await queue.transact((sql) => absorbSteering(sql, ids, { runId, epoch, nowMs }));
    },
    append: (runId, epoch, entries, messages, nowMs) =>
      queue.transact((sql) => appendToRun(sql, ids, { runId, epoch, nowMs }, entries, messages)),
    park: (runId, epoch, eventSeq, nowMs) => queue.transact((sql) => parkRun(sql, runId, epoch, eventSeq, nowMs)),
    end: (runId, epoch, ending, messages, nowMs, last = []) =>
      queue.transact((sql) => endRun(sql, ids, { runId, epoch, nowMs }, ending, messages, last)),
    listStarters: () => queue.read(listStarters),
    cancel: (select, partials, nowMs) => queue.transact((sql) => cancelRuns(sql, ids, select, partials, nowMs)),
    expire: (now) => queue.transact((sql) => expireRuns(sql, ids, now())),

    renew: (owner, runIds, leaseMs, nowMs) =>
      queue.transact((sql) => runIds.filter((runId) => sql.run(extendLease, { owner, runId, untilMs: nowMs + leaseMs }) > 0)),

    endLeases: () =>
      queue.transact((sql) => {
        sql.run(endAllLeases, {});
        releaseReservations(sql);
      }),

    release: (owner) => queue.transact((sql) => void sql.run(giveBack, { owner })),

    ensureDelivery: (nowMs) =>
      queue.transact((sql) => {
        for (const { session_key } of sql.all(sessionsWithUnread, {})) ensureAnnounceRun(sql, ids, session_key, nowMs);
      }),
  };
}

type Reads = "findReplay" | "openChildren" | "nextDeadline" | "find" | "findByWireId" | "counts";

function createRunReads(queue: WriteQueue): Pick<RunStore, Reads> {
  return {
    findReplay: (asked) => queue.read((sql) => findReplay(sql, asked)),

    openChildren: (runId) => queue.read((sql) => openChildrenOf(sql, runId)),

    nextDeadline: () => queue.read((sql) => sql.first(firstDeadline, {})?.at ?? undefined),

    find: (runId) =>
      queue.read((sql) => {
        const found = findRun(sql, runId);
        return found === undefined ? undefined : toRunRecord(found);
      }),

    findByWireId: (wireId, { rootKey }) =>
      queue.read((sql) => {
        const found = rootKey === undefined ? sql.first(byWireId, { wireId }) : sql.first(byWireIdInTree, { wireId, rootKey });
        return found === undefined ? undefined : toRunRecord(found);
      }),

    counts: () =>
      queue.read((sql) => {
        const groups = sql.all(countByStatus, {});
        const byStatus: Record<string, number> = {};
        for (const group of groups) byStatus[group.status] = (byStatus[group.status] ?? 0) + group.n;
        const children = groups.filter((group) => group.trigger === "spawn");
        const sum = (rows: readonly { n: number }[]): number => rows.reduce((total, one) => total + one.n, 0);
        const inbox = sql.first(countInbox, {}) ?? { consumed: 0 };
        return {
          byStatus,
          children: {
            accepted: sum(children),
            completed: sum(children.filter((group) => group.status === "succeeded")),
            announced: inbox.consumed,
            undelivered: sql.first(countUnsettled, {})?.n ?? 0,
          },
        };
      }),
  };
}

// ---- statements

const endAllLeases = statement((db, _arg: Args<object>) =>
  db
    .updateTable("runs")
    // The epoch too: what their calls may use is given back here, and is nobody's to use.
    .set((build) => ({ lease_until_ms: 0, epoch: build("epoch", "+", 1) }))
    .where("status", "=", "running"),
);

const giveBack = statement((db, arg: Args<{ owner: string }>) =>
  db
    .updateTable("runs")
    .set({ lease_owner: null, lease_until_ms: 0 })
    .where("status", "=", "running")
    .where("lease_owner", "=", arg("owner")),
);

const sessionsWithUnread = statement((db, _arg: Args<object>) =>
  db.selectFrom("inbox").select("session_key").distinct().where("consumed_at_ms", "is", null),
);

const firstDeadline = statement((db, _arg: Args<object>) =>
  db
    .selectFrom("runs")
    .select((build) => build.fn.min("deadline_at_ms").as("at"))
    .where("deadline_at_ms", "is not", null)
    .where("ended_at_ms", "is", null),
);

const byWireId = statement((db, arg: Args<{ wireId: string }>) =>
  db.selectFrom("runs").selectAll().where("wire_id", "=", arg("wireId")).orderBy("created_at_ms", "desc").limit(1),
);

const byWireIdInTree = statement((db, arg: Args<{ wireId: string; rootKey: string }>) =>
  db
    .selectFrom("runs")
    .selectAll()
    .where("wire_id", "=", arg("wireId"))
    .where("root_session_key", "=", arg("rootKey"))
    .orderBy("created_at_ms", "desc")
    .limit(1),
);

const countByStatus = statement((db, _arg: Args<object>) =>
  db
    .selectFrom("runs")
    .select((build) => ["status", "trigger", build.fn.countAll<number>().as("n")])
    .groupBy(["status", "trigger"]),
);

const countInbox = statement((db, _arg: Args<object>) => db.selectFrom("inbox").select(raw<number>`count(consumed_by)`.as("consumed")));

const countUnsettled = statement((db, _arg: Args<object>) =>
  db
    .selectFrom("inbox")
    .select((build) => build.fn.countAll<number>().as("n"))
    .where(isUnsettled),
);

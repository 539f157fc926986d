/** Processes of runs in SQL. */
import type { ProcessStore } from "../process-store.ts";
import type { ProcessRow } from "./schema.ts";
import { type Args, row, statement } from "./statement.ts";
import type { WriteQueue } from "./write-queue.ts";

export function createProcessStore(queue: WriteQueue): ProcessStore {
  return {
    note: ({ pid, startedAt, runId }) =>
      queue.transact((sql) => {
        sql.run(remove, { pid });
        sql.run(insert, { pid, started_at: startedAt ?? null, run_id: runId });
      }),
    forget: (pid) => queue.transact((sql) => void sql.run(remove, { pid })),
    list: () =>
      queue.read((sql) =>
        sql.all(listAll, {}).map(({ pid, started_at, run_id }) => ({ pid, startedAt: started_at ?? undefined, runId: run_id })),
      ),
  };
}

const insert = statement((db, arg: Args<ProcessRow>) =>
  db.insertInto("run_processes").values(row(arg, { pid: true, started_at: true, run_id: true })),
);

const remove = statement((db, arg: Args<{ pid: number }>) => db.deleteFrom("run_processes").where("pid", "=", arg("pid")));

const listAll = statement((db, _arg: Args<object>) => db.selectFrom("run_processes").selectAll());

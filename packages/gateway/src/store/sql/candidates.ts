/**
 * Candidates of a claim, in the order in which they are tried: a few of each session and each conversation, however much waits
 * there. Which of them go on is the claim's to decide.
 */
import { type Kysely, sql as raw } from "kysely";
import type { Database, RunTableRow } from "./schema.ts";
import { type Args, type Sql, statement } from "./statement.ts";

export type Candidate = Pick<RunTableRow, "run_id" | "depth" | "root_session_key">;

type Ready = Candidate & Pick<RunTableRow, "status" | "created_at_ms">;

export interface Candidates {
  /** Everything that might go on but queued children, oldest first. */
  readonly ready: readonly Candidate[];
  /** Messages and announcements queued in children's sessions, oldest first. */
  readonly queuedBelow: readonly Ready[];
}

export function findCandidates(sql: Sql, { leftBehind, nowMs }: { readonly leftBehind: number; readonly nowMs: number }): Candidates {
  const all = sql.all(leftBehind > 0 ? resumableOrLeft : resumable, { nowMs });
  const isBelow = ({ status, depth }: Ready): boolean => status === "queued" && depth > 0;
  return { ready: all.filter((one) => !isBelow(one)), queuedBelow: all.filter(isBelow) };
}

export function findSuspects(sql: Sql, nowMs: number): readonly Candidate[] {
  return sql.all(suspects, { nowMs });
}

export interface ChildSlots {
  /** Running children in all. */
  readonly running: number;
  /** No more may run. */
  readonly areTaken: boolean;
  readonly of: (rootKey: string) => number;
  readonly add: (rootKey: string) => void;
}

export function slotsOf(sql: Sql, children: { readonly running: number; readonly most: number }, nowMs: number): ChildSlots {
  let { running } = children;
  // Counted when two conversations want a slot.
  let byRoot: Map<string, number> | undefined;
  const of = (rootKey: string): number => {
    byRoot ??= new Map(sql.all(runningChildren, { nowMs }).map((one) => [one.root_session_key, one.n]));
    return byRoot.get(rootKey) ?? 0;
  };
  return {
    get running() {
      return running;
    },
    get areTaken() {
      return running >= children.most;
    },
    of,
    add: (rootKey) => {
      running += 1;
      byRoot?.set(rootKey, of(rootKey) + 1);
    },
  };
}

interface Conversation {
  readonly key: string;
  /** Children that were tried and could not be claimed. */
  passed: number;
  readonly messages: Ready[];
}

/** Queued children, and what is queued for children: always the oldest of the conversation that has the fewest running ones. */
export function* fairly(sql: Sql, slots: ChildSlots, queuedBelow: readonly Ready[]): Generator<Candidate> {
  if (slots.areTaken) return;
  const conversations = findConversations(sql, queuedBelow);
  while (conversations.length > 0) {
    const [one] = conversations.toSorted((a, b) => slots.of(a.key) - slots.of(b.key));
    if (one === undefined) return;
    const next = findNext(sql, one);
    if (next === undefined) conversations.splice(conversations.indexOf(one), 1);
    else {
      const before = slots.running;
      yield next;
      // A child that was claimed meanwhile is not queued any more; what could not be is stepped over.
      if (next === one.messages[0]) one.messages.shift();
      else if (slots.running === before) one.passed += 1;
    }
  }
}

function findConversations(sql: Sql, queuedBelow: readonly Ready[]): Conversation[] {
  const keys = new Set(sql.all(rootsWithQueuedChildren, {}).flatMap(({ key }) => key ?? []));
  for (const one of queuedBelow) keys.add(one.root_session_key);
  return [...keys].map((key) => ({ key, passed: 0, messages: queuedBelow.filter((one) => one.root_session_key === key) }));
}

function findNext(sql: Sql, { key: rootKey, passed: offset, messages: [message] }: Conversation): Ready | undefined {
  const child = sql.first(queuedChildOf, { rootKey, offset });
  if (message === undefined || child === undefined) return child ?? message;
  return message.created_at_ms < child.created_at_ms ? message : child;
}

// ---- statements

const candidate = ["runs.run_id", "runs.depth", "runs.root_session_key", "runs.status", "runs.created_at_ms"] as const;

/** Everything that might go on but what was left behind and queued children, oldest first. */
const resumable = statement((db, arg: Args<{ nowMs: number }>) => oldestFirst(readyRuns(db, arg)));

/** The same with what was left behind, suspects excepted. */
const resumableOrLeft = statement((db, arg: Args<{ nowMs: number }>) =>
  oldestFirst(
    readyRuns(db, arg).union(
      runsThatAre(db, "running")
        .where("runs.lease_until_ms", "<=", arg("nowMs"))
        .where((is) => is.or([is("runs.takeovers", "=", 0), is("runs.lease_owner", "is", null)])),
    ),
  ),
);

function readyRuns(db: Kysely<Database>, arg: Args<{ nowMs: number }>) {
  // A cross join is read in its order: what is unread, and who waits, are few.
  const withResults = db
    .selectFrom("inbox")
    .crossJoin("runs")
    .select(candidate)
    .where("inbox.parent_run_id", "is not", null)
    .where("inbox.consumed_at_ms", "is", null)
    .whereRef("runs.run_id", "=", "inbox.parent_run_id")
    .where("runs.status", "=", "waiting");
  const steered = runsThatAre(db, "waiting")
    .where(({ not, exists }) => not(exists(carriedIn(db, arg, "runs.session_key"))))
    .where(({ exists, selectFrom }) =>
      exists(
        selectFrom("runs as message")
          .select("message.run_id")
          .whereRef("message.session_key", "=", "runs.session_key")
          .where("message.status", "=", "queued")
          .where("message.queue_mode", "=", "steer"),
      ),
    );
  return queuedFirst(db, arg).union(withResults).union(steered);
}

/**
 * Of what is queued in each session that no run works in, but for the children themselves: the oldest of each depth, since what
 * needs no child's slot must not wait for one. Each is found from the one before it, past all that waits behind that.
 */
function queuedFirst(db: Kysely<Database>, arg: Args<{ nowMs: number }>) {
  const columns = [...candidate, "runs.session_key"] as const;
  const queued = db.selectFrom("runs").where("runs.status", "=", "queued").where("runs.trigger", "!=", "spawn");
  const first = queued.orderBy("runs.session_key").orderBy("runs.depth").orderBy("runs.created_at_ms").orderBy("runs.run_id").limit(1);
  const [key, depth] = [raw.ref<string>("first.session_key"), raw.ref<number>("first.depth")];
  const deeper = first.select("runs.run_id").where("runs.session_key", "=", key).where("runs.depth", ">", depth);
  const elsewhere = first.select("runs.run_id").where("runs.session_key", ">", key);
  return db
    .withRecursive("first", (build) =>
      build
        .selectFrom(first.select(columns).as("lowest"))
        .selectAll()
        .unionAll(
          build
            .selectFrom("first")
            .crossJoin("runs")
            .select(columns)
            .where("runs.run_id", "=", ({ fn }) => fn.coalesce(deeper, elsewhere)),
        ),
    )
    .selectFrom("first")
    .select(["first.run_id", "first.depth", "first.root_session_key", "first.status", "first.created_at_ms"])
    .where(({ not, exists }) => not(exists(carriedIn(db, arg, "first.session_key"))));
}

/** Runs of the session with a live lease. */
function carriedIn(db: Kysely<Database>, arg: Args<{ nowMs: number }>, session: "runs.session_key" | "first.session_key") {
  return db
    .selectFrom("runs as other")
    .select("other.run_id")
    .where("other.session_key", "=", raw.ref<string>(session))
    .where("other.status", "=", "running")
    .where("other.lease_until_ms", ">", arg("nowMs"));
}

function runsThatAre(db: Kysely<Database>, status: RunTableRow["status"]) {
  return db.selectFrom("runs").select(candidate).where("runs.status", "=", status);
}

function oldestFirst(query: ReturnType<typeof readyRuns>) {
  return query.orderBy("created_at_ms").orderBy("run_id");
}

/** The next to be given up come first; then whoever began its step last: with the others the gateway lived for longer. */
const suspects = statement((db, arg: Args<{ nowMs: number }>) =>
  db
    .selectFrom("runs")
    .select(["run_id", "depth", "root_session_key"])
    .where("status", "=", "running")
    .where("lease_until_ms", "<=", arg("nowMs"))
    .where("takeovers", ">", 0)
    .where("lease_owner", "is not", null)
    .orderBy("takeovers", "desc")
    .orderBy(
      ({ selectFrom }) =>
        selectFrom("journal").select("at_ms").whereRef("journal.run_id", "=", "runs.run_id").orderBy("seq", "desc").limit(1),
      "desc",
    )
    .orderBy("run_id", "desc")
    .limit(100),
);

const runningChildren = statement((db, arg: Args<{ nowMs: number }>) =>
  db
    .selectFrom("runs")
    .select((build) => ["root_session_key", build.fn.countAll<number>().as("n")])
    .where("status", "=", "running")
    .where("depth", ">", 0)
    .where("lease_until_ms", ">", arg("nowMs"))
    .groupBy("root_session_key"),
);

/** Each found past all children of the one before. The last is null. */
const rootsWithQueuedChildren = statement((db, _arg: Args<object>) =>
  db
    .withRecursive("roots", (build) => {
      const lowest = queuedChildren(db).select(({ fn }) => fn.min<string | null>("runs.root_session_key").as("key"));
      return lowest.unionAll(
        build
          .selectFrom("roots")
          .select(lowest.where("runs.root_session_key", ">", raw<string>`"roots"."key"`).as("key"))
          .where("roots.key", "is not", null),
      );
    })
    .selectFrom("roots")
    .select("roots.key"),
);

const queuedChildOf = statement((db, arg: Args<{ rootKey: string; offset: number }>) =>
  queuedChildren(db)
    .select(candidate)
    .where("runs.root_session_key", "=", arg("rootKey"))
    .orderBy("runs.created_at_ms")
    .orderBy("runs.run_id")
    .limit(1)
    .offset(arg("offset")),
);

function queuedChildren(db: Kysely<Database>) {
  return db.selectFrom("runs").where("runs.status", "=", "queued").where("runs.trigger", "=", "spawn");
}

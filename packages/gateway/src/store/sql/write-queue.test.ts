import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { Kysely } from "kysely";
import { ProtocolError } from "@portreeve/protocol";
import { createDialect, openDatabase } from "./dialect.ts";
import { migrate } from "./migrate.ts";
import type { Database } from "./schema.ts";
import { type Args, createSql, statement } from "./statement.ts";
import { WriteQueue } from "./write-queue.ts";

async function open(file = ":memory:") {
  const raw = openDatabase(file);
  const db = new Kysely<Database>({ dialect: createDialect(raw) });
  await migrate(db);
  const told: string[] = [];
  const queue = new WriteQueue(db, createSql(raw), { onAppended: ({ sessionKey }) => void told.push(sessionKey) });
  const write = (name: string, size = 1) =>
    queue.write((tx) =>
      tx
        .insertInto("counters")
        .values({ name: name.padEnd(size, "x"), value: 1 })
        .execute(),
    );
  /** A transaction that has written `name`, and throws when it is told to go on. */
  const failSlowly = async (name: string) => {
    const inside = Promise.withResolvers<void>();
    const goingOn = Promise.withResolvers<void>();
    const writing = queue.write(async (tx) => {
      await tx.insertInto("counters").values({ name, value: 1 }).execute();
      inside.resolve();
      await goingOn.promise;
      throw new Error("no");
    });
    await inside.promise;
    return { writing, goOn: () => goingOn.resolve() };
  };
  const names = async () => (await db.selectFrom("counters").select("name").orderBy("name").execute()).map((row) => row.name);
  const transact = (name: string) => queue.transact((sql) => sql.run(insertCounter, { name }));
  return { raw, queue, told, write, failSlowly, transact, names, [Symbol.asyncDispose]: () => db.destroy() };
}

const insertValue = statement((db, arg: Args<{ name: string; value: number }>) =>
  db.insertInto("counters").values({ name: arg("name"), value: arg("value") }),
);

const insertCounter = statement((db, arg: Args<{ name: string }>) => db.insertInto("counters").values({ name: arg("name"), value: 1 }));
const readCounter = statement((db, arg: Args<{ name: string }>) =>
  db.selectFrom("counters").select("value").where("name", "=", arg("name")),
);

test("writes of one turn are all there when they resolve", async () => {
  await using store = await open();

  await Promise.all(["a", "b", "c"].map((name) => store.write(name)));

  assert.deepEqual(await store.names(), ["a", "b", "c"]);
});

test("a refused write is not held against a disk that takes the next one", async () => {
  await using store = await open();
  const { page_count: pages } = store.raw.prepare("pragma page_count").get() ?? {};
  store.raw.exec(`pragma max_page_count = ${Number(pages)}`);
  const fresh = await store.queue.findRefusal();

  await assert.rejects(store.write("large", 100_000));
  const small = await store.queue.findRefusal();

  assert.deepEqual([fresh, small], [undefined, undefined]);
});

test("a write that throws undoes itself alone", async () => {
  await using store = await open();
  const failing = store.queue.write(async (tx) => {
    await tx.insertInto("counters").values({ name: "half", value: 1 }).execute();
    throw new Error("no");
  });

  const outcomes = await Promise.allSettled([store.write("a"), failing, store.write("b")]);

  assert.deepEqual(
    outcomes.map((outcome) => outcome.status),
    ["fulfilled", "rejected", "fulfilled"],
  );
  assert.deepEqual(await store.names(), ["a", "b"]);
});

test("a full disk refuses every write of the commit, keeps what was there, and writing works again with space", async () => {
  await using store = await open();
  await store.write("before");
  const pages = Number(store.raw.prepare("pragma page_count").get()?.["page_count"]);
  store.raw.exec(`pragma max_page_count = ${pages}`);

  const outcomes = await Promise.allSettled([store.write("small"), store.write("large", 100_000), store.write("other")]);
  store.raw.exec(`pragma max_page_count = ${pages + 1_000}`);
  await store.write("after");

  for (const outcome of outcomes) {
    assert.equal(outcome.status, "rejected");
    assert.ok(outcome.status === "rejected" && outcome.reason instanceof ProtocolError && outcome.reason.code === "STORE_UNAVAILABLE");
  }
  assert.deepEqual(await store.names(), ["after", "before"]);
});

test("a database that became read-only refuses writes by name, keeps what was there, and is written again afterwards", async () => {
  await using store = await open();
  await store.write("before");
  store.raw.exec("pragma query_only = on");

  await assert.rejects(store.write("refused"), (error: ProtocolError) => {
    assert.equal(error.code, "STORE_UNAVAILABLE");
    assert.match(error.message, /read-only/);
    return true;
  });
  store.raw.exec("pragma query_only = off");
  await store.write("after");

  assert.deepEqual(await store.names(), ["after", "before"]);
});

test("draining waits for what is queued", async () => {
  await using store = await open();
  const settled: string[] = [];
  void store.write("a").then(() => settled.push("a"));

  await store.queue.drain();
  await Promise.resolve();

  assert.deepEqual(settled, ["a"]);
});

test("writes that wait and writes that do not take their turns in the order they came", async () => {
  await using store = await open();
  const settled: string[] = [];
  const note = (name: string) => () => void settled.push(name);

  await Promise.all([
    store.transact("a").then(note("a")),
    store.write("b").then(note("b")),
    store.transact("c").then(note("c")),
    store.write("d").then(note("d")),
  ]);

  assert.deepEqual(settled, ["a", "b", "c", "d"]);
  assert.deepEqual(await store.names(), ["a", "b", "c", "d"]);
});

test("a write without waiting that throws undoes itself alone", async () => {
  await using store = await open();
  const failing = store.queue.transact((sql) => {
    sql.run(insertCounter, { name: "half" });
    throw new Error("no");
  });

  const outcomes = await Promise.allSettled([store.transact("a"), failing, store.transact("b")]);

  assert.deepEqual(
    outcomes.map((outcome) => outcome.status),
    ["fulfilled", "rejected", "fulfilled"],
  );
  assert.deepEqual(await store.names(), ["a", "b"]);
});

test("a read waits for a transaction that is open, and sees nothing of it before", async () => {
  await using store = await open();
  const { writing, goOn } = await store.failSlowly("open");

  const reading = store.queue.read((sql) => sql.first(readCounter, { name: "open" }));
  goOn();

  await assert.rejects(writing, /no/);
  assert.equal(await reading, undefined);
});

test("a remembered read is made once for everybody, and anew after a write of either kind", async () => {
  await using store = await open();
  let reads = 0;
  const remembering = store.queue.remembering<boolean>();
  const isThere = (name: string) =>
    remembering(name, (sql) => {
      reads += 1;
      return sql.first(readCounter, { name }) !== undefined;
    });

  assert.deepEqual(await Promise.all([isThere("a"), isThere("a"), isThere("b")]), [false, false, false]);
  assert.equal(reads, 2);

  await store.transact("a");
  assert.deepEqual([await isThere("a"), await isThere("b")], [true, false]);
  await store.write("b");
  assert.deepEqual([await isThere("a"), await isThere("b"), await isThere("b")], [true, true, true]);
  assert.equal(reads, 6);
});

test("a state that cannot be read is refused by name, remembered or not, and read again afterwards", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "portreeve-test-"));
  t.after(() => rmSync(folder, { recursive: true }));
  await using store = await open(join(folder, "a.db"));
  await store.transact("a");
  // With a write-ahead log nobody can keep a reader out.
  store.raw.exec("pragma journal_mode = delete");
  const remembering = store.queue.remembering<boolean>();
  const reads = [
    () => store.queue.read((sql) => sql.first(readCounter, { name: "a" }) !== undefined),
    () => remembering("a", (sql) => sql.first(readCounter, { name: "a" }) !== undefined),
  ];
  using other = new DatabaseSync(join(folder, "a.db"));
  other.exec("begin exclusive");

  for (const read of reads)
    await assert.rejects(read(), (error: ProtocolError) => {
      assert.equal(error.code, "STORE_UNAVAILABLE");
      assert.match(error.message, /cannot be read: the database is locked/);
      return true;
    });
  other.exec("commit");

  assert.deepEqual(await Promise.all(reads.map((read) => read())), [true, true]);
});

test("what is remembered while a transaction is open is not what it has written", async () => {
  await using store = await open();
  const remembering = store.queue.remembering<boolean>();
  const isThere = () => remembering("open", (sql) => sql.first(readCounter, { name: "open" }) !== undefined);
  const { writing, goOn } = await store.failSlowly("open");

  const reading = isThere();
  goOn();
  await assert.rejects(writing, /no/);

  assert.equal(await reading, false);
  await store.transact("open");
  assert.equal(await isThere(), true);
});

test("what is constant in a statement stands in its text, quoted", async () => {
  await using store = await open();
  const odd = statement((db, _arg: Args<object>) => db.insertInto("counters").values({ name: "it's", value: 2 }));

  await store.queue.transact((sql) => sql.run(odd, {}));

  assert.deepEqual(await store.names(), ["it's"]);
});

test("additions to transcripts are told after their commit, before whoever waited goes on, and never what was undone", async () => {
  await using store = await open();
  const add = (sessionKey: string, error?: Error) =>
    store.queue.transact((sql) => {
      sql.appended.push({ sessionKey, fromSeq: 1, throughSeq: 1 });
      if (error !== undefined) throw error;
    });

  const [first] = await Promise.allSettled([add("a").then(() => [...store.told]), add("undone", new Error("no")), add("b")]);
  assert.deepEqual(first, { status: "fulfilled", value: ["a", "b"] });

  const pages = Number(store.raw.prepare("pragma page_count").get()?.["page_count"]);
  store.raw.exec(`pragma max_page_count = ${pages}`);
  const large = "x".repeat(100_000);
  await assert.rejects(Promise.all([add("lost"), store.transact(large)]), { code: "STORE_UNAVAILABLE" });
  store.raw.exec("pragma max_page_count = 1000000");
  await Promise.all([add("mixed"), store.write("c")]);

  assert.deepEqual(store.told, ["a", "b", "mixed"]);
});

test("an integer that could not be read again is never written, in either kind of transaction, and undoes nothing else", async () => {
  await using store = await open();
  const never = 2 ** 60;

  const outcomes = await Promise.allSettled([
    store.transact("before"),
    store.queue.transact((sql) => sql.run(insertValue, { name: "sync", value: never })),
    store.queue.write((tx) => tx.insertInto("counters").values({ name: "awaited", value: -never }).execute()),
    store.transact("after"),
  ]);

  assert.deepEqual(
    outcomes.map((one) => (one.status === "rejected" ? String(one.reason) : one.status)),
    ["fulfilled", `RangeError: ${never} cannot be stored`, `RangeError: ${-never} cannot be stored`, "fulfilled"],
  );
  assert.deepEqual(await store.names(), ["after", "before"]);
});

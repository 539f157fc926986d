/** Sessions as clients find, make, show and empty them; what they open a conversation with. All on one gateway. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import test, { after } from "node:test";
import { type ParamsInput, type Result } from "@portreeve/protocol";
import { secretPrincipal } from "../packages/gateway/src/principal/principal.ts";
import { script } from "./support/script.ts";
import { startGateway } from "./support/start-gateway.ts";
import { connectWire, createWireKey, type Frame, type Wire } from "./support/wire-client.ts";

const gw = await startGateway({
  config: { agents: { defaults: { fallbacks: ["openai/gpt-5.5"] }, entries: { quiet: { tools: { deny: ["sessions_spawn"] } } } } },
});
after(() => gw[Symbol.asyncDispose]());
const [reader, writer, admin] = [gw.callerWith("operator.read"), gw.callerWith("operator.write"), gw.callerWith("operator.admin")];

let keys = 0;
/** A session in which `message` was said and answered; answers its canonical key. */
async function talk(name: string, message: string): Promise<string> {
  keys += 1;
  await writer.call("agent", { message, sessionKey: name, idempotencyKey: `talk-${keys}` });
  return `agent:main:${name}`;
}

async function describe(key: string): Promise<Result<"sessions.describe">["session"]> {
  return (await reader.call("sessions.describe", { key, includeDerivedTitles: true, includeLastMessage: true })).session;
}

test("a session is described by any form of its key, with what was said first and last; one there is not is null", async () => {
  const key = await talk("garden", script("how are\n the   beans", { say: "growing" }));

  const row = await describe("Garden");

  assert.equal(row?.key, key);
  assert.match(row.derivedTitle ?? "", /^how are the beans/);
  assert.match(row.lastMessagePreview ?? "", /^growing/);
  assert.equal(await describe("nowhere"), null);
  const listed = await reader.call("sessions.list", { search: "garden", includeDerivedTitles: true });
  assert.deepEqual(
    listed.sessions.map(({ derivedTitle, lastMessagePreview }) => [derivedTitle, lastMessagePreview]),
    [[row.derivedTitle, undefined]],
  );
});

test("what is searched for has at most 200 characters, and none of them means more than itself", async () => {
  const search = (text: string): Promise<unknown> => reader.call("sessions.list", { search: text });

  await assert.rejects(search("%".repeat(60_000)), { code: "INVALID_PARAMS" });
  await assert.rejects(search("x".repeat(201)), { code: "INVALID_PARAMS" });
  assert.deepEqual((await reader.call("sessions.list", { search: "%".repeat(200) })).sessions, []);
});

test("previews tell sessions that were spoken in from empty, missing and impossible ones", async () => {
  await talk("previewed", script("one", { say: "two" }));
  await writer.call("sessions.patch", { key: "silent", label: "silent" });

  const { previews } = await reader.call("sessions.preview", { keys: ["previewed", "silent", "gone", "agent:nobody:main"], maxChars: 20 });

  assert.deepEqual(
    previews.map(({ key, status }) => [key, status]),
    [
      ["previewed", "ok"],
      ["silent", "empty"],
      ["gone", "missing"],
      ["agent:nobody:main", "error"],
    ],
  );
  assert.deepEqual(
    previews[0]?.items.map(({ role, text }) => [role, text.length <= 20]),
    [
      ["user", true],
      ["assistant", true],
    ],
  );
});

test("a session is resolved by key, id or label, and by exactly one of them", async () => {
  const key = await talk("resolved", "hello");
  await writer.call("sessions.patch", { key, label: "The one" });
  for (const name of ["twin-a", "twin-b"]) await writer.call("sessions.patch", { key: name, label: "Twins" });
  const { sessionId } = (await describe(key)) ?? assert.fail();
  const resolve = (params: ParamsInput<"sessions.resolve">) => reader.call("sessions.resolve", params);

  const found = { ok: true, key, agentId: "main", displayName: "The one" };
  assert.deepEqual(
    [await resolve({ key: "resolved" }), await resolve({ sessionId }), await resolve({ label: "The one" })],
    [found, found, found],
  );
  assert.deepEqual(await resolve({ key: "nope", allowMissing: true }), { ok: false });
  await assert.rejects(resolve({ key: "nope" }), { code: "UNKNOWN_SESSION", message: "No session found: nope" });
  await assert.rejects(resolve({ label: "The one", agentId: "quiet" }), { code: "UNKNOWN_SESSION" });
  await assert.rejects(resolve({ key, spawnedBy: "main" }), { code: "UNKNOWN_SESSION" });
  await assert.rejects(resolve({ label: "Twins" }), { code: "AMBIGUOUS_SESSION" });
  await assert.rejects(resolve({}), { code: "INVALID_PARAMS" });
  await assert.rejects(resolve({ key, sessionId }), { code: "INVALID_PARAMS" });
});

test("the same messages come from chat.history, sessions.get and chat.message.get, and fewer within maxBytes", async () => {
  const key = await talk("read", script("a question", { say: "an answer" }));
  const { messages, totalMessages } = await reader.call("chat.history", { sessionKey: key });

  assert.deepEqual((await reader.call("sessions.get", { key })).messages, messages);
  assert.deepEqual((await reader.call("sessions.get", { sessionKey: "read", limit: 1 })).messages, messages.slice(-1));
  const [question] = messages;
  const messageId = question?.__openclaw.id ?? assert.fail();
  assert.deepEqual(await reader.call("chat.message.get", { sessionKey: key, messageId }), { ok: true, message: question });
  assert.deepEqual(await reader.call("chat.message.get", { sessionKey: "garden", messageId }), {
    ok: false,
    unavailableReason: "not_found",
  });
  await assert.rejects(reader.call("sessions.get", {}), { code: "INVALID_PARAMS", message: /'key'/ });

  await talk("read", `long ${"x".repeat(3_000)}`);
  const short = await reader.call("chat.history", { sessionKey: key, maxBytes: 1_024 });
  assert.equal(totalMessages, 2);
  assert.deepEqual([short.messages.length >= 1, short.hasMore, short.totalMessages], [true, true, 4]);
  assert.equal(short.messages.at(-1)?.role, "assistant");
});

test("a history fits in a frame, whatever its messages hold: long arguments are cut, and say so", async () => {
  const write = (chars: number, of: number) => ({ tool: "write", args: { path: `beans-${of}`, content: "b".repeat(chars) } });
  const twelve = Array.from({ length: 12 }, (_, index) => write(12_500, index));
  const long = await talk("long-call", script("save it", { call: [write(60_000, 0)] }, { say: "saved" }));
  const many = await talk("long-calls", script("save them", { call: twelve }, { say: "saved" }));

  const { messages } = await reader.call("chat.history", { sessionKey: long });
  const started = await admin.call("chat.startup", { sessionKey: long });
  const [, omitted] = (await reader.call("chat.history", { sessionKey: many })).messages;
  const [, whole] = (await reader.call("chat.history", { sessionKey: many, maxChars: 500_000 })).messages;

  const [call] = messages[1]?.content ?? [];
  const cut = call?.type === "toolCall" ? (call.arguments as { readonly beginning: string }) : assert.fail();
  const chars = JSON.stringify(write(60_000, 0).args).length;
  const beginning = `{"path":"beans-0","content":"${"b".repeat(12_000)}`.slice(0, 12_000);
  assert.deepEqual(cut, { truncated: true, chars, beginning: `${beginning}…` });
  assert.deepEqual([started.messages, (await reader.call("sessions.get", { key: long })).messages], [messages, messages]);
  assert.deepEqual(omitted?.content, [{ type: "text", text: "[chat.history omitted: message too large]" }]);
  assert.deepEqual([whole?.__openclaw, whole?.content.length], [omitted?.__openclaw, 12]);
});

test("a history has at most 6 MiB, and says that there is more", async () => {
  const key = await talk("much", "hello");
  for (let count = 0; count < 36; count += 1) await admin.call("chat.inject", { sessionKey: key, message: "m".repeat(190_000) });

  const asked = { sessionKey: key, maxChars: 500_000 };
  const page = await reader.call("chat.history", asked);
  const more = await reader.call("chat.history", { ...asked, maxBytes: 60_000_000 });

  const bytes = Buffer.byteLength(JSON.stringify(page.messages));
  assert.ok(bytes > 5 * 1_048_576 && bytes <= 6 * 1_048_576, `${bytes}`);
  assert.deepEqual([page.hasMore, page.totalMessages, more.messages.length], [true, 38, page.messages.length]);
});

test("a client knows its own message by the run it came as; a page of sessions is as large as it may be, whatever is asked for", async () => {
  await writer.call("chat.send", { sessionKey: "mine", message: "hello", idempotencyKey: "my-message" });
  await writer.call("agent.wait", { runId: "my-message", timeoutMs: 3_60_000 });

  const { messages } = await reader.call("chat.history", { sessionKey: "mine" });
  const { limitApplied } = await reader.call("sessions.list", { limit: 10_000 });

  assert.deepEqual(
    messages.map(({ role, idempotencyKey }) => [role, idempotencyKey]),
    [
      ["user", "my-message:user"],
      ["assistant", undefined],
    ],
  );
  assert.equal(limitApplied, 1_000);
});

test("a session is made under a key of its own, the same for the same idempotency key, and an agent that is unknown makes none", async () => {
  const first = await writer.call("sessions.create", { label: "Plans", idempotencyKey: "make-1" });
  const again = await writer.call("sessions.create", { label: "Plans", idempotencyKey: "make-1" });
  const other = await writer.call("sessions.create", {});

  assert.match(first.key, /^agent:main:dashboard:/);
  assert.deepEqual([again.key, again.sessionId, first.runStarted], [first.key, first.sessionId, false]);
  assert.notEqual(other.key, first.key);
  assert.deepEqual([first.entry.label, first.resolved], ["Plans", { modelProvider: "scripted", model: "scripted" }]);
  await assert.rejects(writer.call("sessions.create", { agentId: "nobody" }), { code: "UNKNOWN_AGENT_ID" });
  await assert.rejects(writer.call("sessions.create", { model: "nothing/there" }), { code: "MODEL_UNUSABLE" });
  await assert.rejects(writer.call("sessions.create", { parentSessionKey: "nowhere" }), { code: "UNKNOWN_SESSION" });
  await assert.rejects(writer.call("sessions.create", { message: "a", task: "b" }), { code: "INVALID_PARAMS" });
});

test("a session that is made with a message works at once, and is no child of the one that it was made beside", async () => {
  const made = await writer.call("sessions.create", {
    key: "begun",
    parentSessionKey: "garden",
    message: "hello",
    idempotencyKey: "make-2",
  });
  const replayed = await writer.call("sessions.create", {
    key: "begun",
    parentSessionKey: "garden",
    message: "hello",
    idempotencyKey: "make-2",
  });

  assert.deepEqual([made.runStarted, made.runId, made.status, made.entry.activeRunIds], [true, "make-2", "started", ["make-2"]]);
  assert.equal((await writer.call("agent.wait", { runId: "make-2" })).status, "ok");
  assert.equal(replayed.runId, "make-2");
  assert.deepEqual([made.entry.spawnedBy, made.entry.spawnDepth], [undefined, 0]);
  assert.equal((await reader.call("chat.history", { sessionKey: "begun" })).totalMessages, 2);
});

test("what a create refuses, or has done before, changes nothing about the session", async () => {
  const ask = { label: "First", message: "hello", idempotencyKey: "make-3" };
  const made = await writer.call("sessions.create", ask);
  await writer.call("agent.wait", { runId: "make-3" });
  const labelNow = async () => (await describe(made.key))?.label;

  await assert.rejects(writer.call("sessions.create", { ...ask, label: "Other", message: "other" }), { code: "IDEMPOTENCY_MISMATCH" });
  await assert.rejects(writer.call("sessions.create", { ...ask, label: "Other" }), { code: "IDEMPOTENCY_MISMATCH" });
  const refused = await labelNow();
  await writer.call("sessions.patch", { key: made.key, label: "Renamed" });
  const again = await writer.call("sessions.create", ask);
  const silent = await writer.call("sessions.create", { label: "Silent", idempotencyKey: "make-3" });
  const replayed = await labelNow();
  const more = await writer.call("sessions.create", { key: made.key, label: "Second", message: "more", idempotencyKey: "make-4" });

  assert.deepEqual([made.entry.label, refused, replayed, more.entry.label], ["First", "First", "Renamed", "Second"]);
  assert.deepEqual([again.key, again.runId, again.entry.label], [made.key, "make-3", "Renamed"]);
  assert.deepEqual([silent.key, silent.runStarted, silent.entry.label], [made.key, false, "Renamed"]);
});

test("a reset empties a session under a new id, once, and keeps its name; what is meant by another id is not touched", async () => {
  const key = await talk("emptied", "hello");
  await writer.call("sessions.patch", { key, label: "Kept" });
  const before = (await describe(key)) ?? assert.fail();

  const { entry } = await admin.call("sessions.reset", { key: "emptied", expectedSessionId: before.sessionId });

  assert.notEqual(entry.sessionId, before.sessionId);
  assert.equal(entry.label, "Kept");
  const { sessionId, totalMessages } = await reader.call("chat.history", { sessionKey: key });
  assert.deepEqual([sessionId, totalMessages], [entry.sessionId, 0]);
  await assert.rejects(admin.call("sessions.reset", { key, expectedSessionId: before.sessionId }), { code: "SESSION_CHANGED" });
  await assert.rejects(admin.call("sessions.reset", { key: "never" }), { code: "UNKNOWN_SESSION" });
  assert.equal((await writer.call("agent", { message: "again", sessionKey: key, idempotencyKey: "after-reset" })).status, "ok");
  const { rows } = await admin.call("audit.list", { limit: 50 });
  assert.deepEqual(
    rows.filter(({ kind, subject }) => kind === "session.reset" && subject === key).map(({ actor }) => actor),
    [secretPrincipal([]).id],
  );
});

test("a reset stops what works in the session first", async () => {
  await writer.call("chat.send", { sessionKey: "stuck", message: script("wait", { hang: true }), idempotencyKey: "stuck-1" });

  await assert.rejects(admin.call("sessions.reset", { key: "stuck", expectedSessionId: "another" }), { code: "SESSION_CHANGED" });
  assert.deepEqual((await describe("stuck"))?.activeRunIds, ["stuck-1"]);
  await admin.call("sessions.reset", { key: "stuck" });

  assert.equal((await writer.call("agent.wait", { runId: "stuck-1" })).stopReason, "aborted");
  assert.equal((await reader.call("chat.history", { sessionKey: "stuck" })).totalMessages, 0);
});

test("models are those that agents use; the view `all` adds what could be had, and each says whether it can be used", async () => {
  const configured = await reader.call("models.list", { view: "configured" });
  const all = await reader.call("models.list", { view: "all" });
  const google = await reader.call("models.list", { view: "all", provider: "google" });

  assert.deepEqual(
    configured.models.map(({ provider, id, available, tags, unavailableReason }) => [provider, id, available, tags, unavailableReason]),
    [
      ["scripted", "scripted", true, ["default"], undefined],
      ["openai", "gpt-5.5", false, undefined, "missing-auth"],
    ],
  );
  assert.deepEqual(all.models.map(({ provider }) => provider).toSorted(), ["anthropic", "google", "openai", "scripted"]);
  assert.deepEqual(
    google.models.map(({ provider, contextWindow }) => [provider, contextWindow]),
    [["google", 1_000_000]],
  );
  await assert.rejects(reader.call("models.list", { agentId: "nobody" }), { code: "UNKNOWN_AGENT_ID" });
});

test("the catalogue holds every tool; those in effect are what a run of the caller's in that session would get", async () => {
  await talk("tools", "hello");
  const quiet = await writer.call("sessions.create", { agentId: "quiet", message: "hello", idempotencyKey: "quiet-1" });
  const effective = async (sessionKey: string) =>
    (await reader.call("tools.effective", { sessionKey })).groups.flatMap(({ tools }) => tools.map(({ id }) => id));

  const { groups } = await reader.call("tools.catalog", {});
  const [open, denied] = [await effective("tools"), await effective(quiet.key)];

  assert.ok(groups.some(({ tools }) => tools.some(({ id }) => id === "sessions_spawn")));
  assert.deepEqual([open.includes("sessions_spawn"), denied.includes("sessions_spawn"), denied.includes("read")], [true, false, true]);
  await assert.rejects(effective("nowhere"), { code: "UNKNOWN_SESSION", message: 'unknown session key "nowhere"' });
  await assert.rejects(reader.call("tools.catalog", { agentId: "nobody" }), { code: "UNKNOWN_AGENT_ID" });
});

test("a tool that looks at its session, called without a run, looks at the one that was named", async () => {
  const key = await talk("watched", "hello");

  const named = await writer.call("tools.invoke", { name: "session_status", sessionKey: "watched" });
  const other = await writer.call("tools.invoke", { name: "session_status", sessionKey: "watched", args: { sessionKey: "garden" } });

  const keyIn = ({ output }: typeof named): string => /"key":"([^"]*)"/.exec(output?.content[0]?.text ?? "")?.[1] ?? "";
  assert.deepEqual([keyIn(named), keyIn(other)], [key, "agent:main:garden"]);
});

test("a child's session has the tools that its depth and its spawn leave it", async () => {
  const call = [{ tool: "sessions_spawn", args: { label: "narrow", task: script("x", { say: "done" }), tools: ["read"] } }];
  await talk("parent", script("go", { call }, { awaitChildren: true }));
  const { sessions } = await reader.call("sessions.list", { spawnedBy: "parent" });

  const { groups } = await reader.call("tools.effective", { sessionKey: sessions[0]?.key ?? assert.fail() });

  assert.deepEqual(
    groups.flatMap(({ tools }) => tools.map(({ id }) => id)),
    ["read"],
  );
});

test("an agent is named by its id, by a session's key or by neither; the gateway by its key", async () => {
  const name = (params: ParamsInput<"agent.identity.get">) => reader.call("agent.identity.get", params).then(({ agentId }) => agentId);

  assert.deepEqual(
    [await name({}), await name({ sessionKey: "" }), await name({ sessionKey: "agent:quiet:x" }), await name({ agentId: "quiet" })],
    ["main", "main", "quiet", "quiet"],
  );
  await assert.rejects(name({ agentId: "nobody" }), { code: "UNKNOWN_AGENT_ID" });
  const { deviceId, publicKey } = await reader.call("gateway.identity.get", {});
  assert.deepEqual([deviceId, publicKey], [gw.gateway.keys.gatewayId, gw.gateway.keys.gatewayKey.publicKey]);
});

test("a conversation opens with one answer: messages, the session, agents with a model, models and commands", async () => {
  const key = await talk("opened", "hello");

  const opened = await reader.call("chat.startup", { sessionKey: "opened", limit: 1 });
  const unknown = await reader.call("chat.startup", { sessionKey: "fresh" });

  assert.deepEqual([opened.sessionKey, opened.messages.length, opened.hasMore, opened.sessionInfo?.key], [key, 1, true, key]);
  assert.deepEqual([unknown.messages, unknown.sessionId, unknown.sessionInfo], [[], "", undefined]);
  assert.ok(unknown.agentsList.agents.every(({ model }) => model.primary !== ""));
  assert.deepEqual(opened.metadata, await reader.call("chat.metadata", { sessionKey: "opened" }));
  assert.ok(opened.metadata.commands.some(({ name }) => name === "stop"));
  assert.deepEqual(opened.metadata.models, (await reader.call("models.list", { agentId: "main" })).models);
});

test("whoever listens to a session, or to all, hears each of its messages once and in order; after unsubscribing it hears none", async () => {
  const [one, all, plain] = await Promise.all(
    ([4, 3, 4] as const).map((protocol) =>
      connectWire(gw.url, { key: createWireKey(), token: gw.token, scopes: ["operator.read"], protocol }),
    ),
  );
  assert.ok(one !== undefined && all !== undefined && plain !== undefined);
  const subscribed = await one.request("sessions.messages.subscribe", { key: "heard" });
  await all.request("sessions.subscribe", {});
  const seqsOf = (wire: Wire) => wire.frames.filter(isMessageOf("agent:main:heard")).map(({ payload }) => payload?.["messageSeq"]);

  await talk("unheard", "hello");
  await talk("heard", script("look", { call: [{ tool: "ls", args: {} }] }, { say: "seen" }));
  for (const wire of [one, all]) await wire.frame((frame) => isMessageOf("agent:main:heard")(frame) && frame.payload?.["messageSeq"] === 4);
  await one.request("sessions.messages.unsubscribe", { key: "heard" });
  await admin.call("chat.inject", { sessionKey: "heard", message: "a note", label: "desk" });
  const injected = await all.frame((frame) => isMessageOf("agent:main:heard")(frame) && frame.payload?.["messageSeq"] === 5);

  assert.deepEqual(subscribed.payload, { subscribed: true, key: "agent:main:heard" });
  assert.deepEqual([seqsOf(one), seqsOf(all), seqsOf(plain)], [[1, 2, 3, 4], [1, 2, 3, 4, 5], []]);
  assert.equal(one.frames.some(isMessageOf("agent:main:unheard")), false);
  assert.match(JSON.stringify(injected.payload?.["message"]), /\[desk\]\\n\\na note/);
  for (const wire of [one, all, plain]) await wire[Symbol.asyncDispose]();
});

test("what is injected is in the history and told as the end of a chat; not while a run works, nor where there is no session", async () => {
  const key = await talk("noted", "hello");
  await using wire = await connectWire(gw.url, { key: createWireKey(), token: gw.token, scopes: ["operator.read"] });

  const { messageId } = await admin.call("chat.inject", { sessionKey: key, message: "by hand" });
  const final = await wire.frame(({ event, payload }) => event === "chat" && payload?.["runId"] === `inject-${messageId}`);
  await writer.call("chat.send", { sessionKey: key, message: script("wait", { hang: true }), idempotencyKey: "noted-2" });

  assert.deepEqual([final.payload?.["state"], final.payload?.["sessionKey"]], ["final", key]);
  const { messages } = await reader.call("chat.history", { sessionKey: key });
  assert.equal(messages.find(({ __openclaw }) => __openclaw.id === messageId)?.model, "gateway-injected");
  await assert.rejects(admin.call("chat.inject", { sessionKey: key, message: "between" }), { code: "SESSION_BUSY" });
  await assert.rejects(admin.call("chat.inject", { sessionKey: "never", message: "x" }), { code: "UNKNOWN_SESSION" });
  await writer.call("chat.abort", { sessionKey: key });
});

test("a session is deleted only as it is meant: with that id, that age, and archived where that is asked", async () => {
  const key = await talk("doomed", "hello");
  const { sessionId, updatedAt } = (await describe(key)) ?? assert.fail();
  const remove = (expected: object) => admin.call("sessions.delete", { key, ...expected });

  for (const expected of [{ expectedSessionId: "another" }, { expectedSessionUpdatedAt: updatedAt - 1 }, { archivedOnly: true }])
    await assert.rejects(remove(expected), { code: "SESSION_CHANGED" });
  await writer.call("sessions.patch", { key, archived: true });

  assert.equal((await remove({ archivedOnly: true, expectedSessionId: sessionId })).deleted, true);
  assert.equal((await remove({ archivedOnly: true })).deleted, false);
});

/** The tables of the database in which the text stands. */
function tablesWith(text: string): readonly unknown[] {
  using db = new DatabaseSync(join(gw.stateDir, "portreeve.db"), { readOnly: true });
  const tables = db.prepare("select name from sqlite_schema where type = 'table'").all();
  return tables.flatMap(({ name }) => {
    const rows = db.prepare(`select * from "${String(name)}"`).all();
    return rows.some((row) => JSON.stringify(row).includes(text)) ? [name] : [];
  });
}

test("what was said in a session that is emptied or deleted is stored nowhere any more; that a run was there, and its cost, is", async () => {
  for (const end of ["sessions.reset", "sessions.delete"] as const) {
    const secret = `secret of ${end}`;
    const message = script(secret, { call: [{ tool: "ls", args: { path: secret } }] }, { say: `heard ${secret}` });
    await writer.call("agent", { message, sessionKey: end, idempotencyKey: end });
    const before = tablesWith(secret);

    await admin.call(end, { key: end });

    assert.deepEqual([before, tablesWith(secret)], [["messages", "runs", "journal"], []]);
    const { runs } = await reader.call("runs.list", { sessionKey: end });
    assert.deepEqual(
      runs.map(({ status, task, delivery }) => [status, task, delivery.status]),
      [["succeeded", "", "not_required"]],
    );
  }
});

test("a session is changed only as it is meant: not one that was emptied since, and one that is gone is not made again", async () => {
  const key = await talk("renamed", "hello");
  const { sessionId } = (await describe(key)) ?? assert.fail();
  const rename = (label: string, key = "renamed") => writer.call("sessions.patch", { key, label, expectedSessionId: sessionId });

  assert.equal((await rename("First")).entry.label, "First");
  await admin.call("sessions.reset", { key });

  await assert.rejects(rename("Second"), { code: "SESSION_CHANGED" });
  await assert.rejects(rename("Second", "never-there"), { code: "SESSION_CHANGED" });
  assert.deepEqual([(await describe(key))?.label, await describe("never-there")], ["First", null]);
  const expect = (expected: object) => admin.call("sessions.patch", { key, label: "Third", ...expected });
  assert.equal((await expect({ expectedToolOverrides: null })).entry.label, "Third");
  await assert.rejects(expect({ expectedPermissionMode: "full" }), { code: "NOT_SUPPORTED" });
});

function isMessageOf(sessionKey: string): (frame: Frame) => boolean {
  return ({ event, payload }) => event === "session.message" && payload?.["sessionKey"] === sessionKey;
}

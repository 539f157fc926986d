/** Files that a spawn hands to its child: who can read them, what is kept of them, and when they go. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { ParamsInput, Result } from "@portreeve/protocol";
import { callTools, type ChatBody, type FakeOpenAi, say, startFakeOpenAi } from "./support/fake-openai.ts";
import { script } from "./support/script.ts";
import { startGateway, type TestGateway } from "./support/start-gateway.ts";

type Ask = Partial<ParamsInput<"subagents.spawn">>;
type Attachments = ParamsInput<"subagents.spawn">["attachments"];

const on = { agents: { defaults: { subagents: { attachments: { enabled: true, maxFileBytes: 100 } } } } };
/** Nobody reads it: it is in its file, and may be nowhere else. */
const unread = "NEVERREAD-7431";
const unread64 = Buffer.from(`${unread} as bytes`).toString("base64");
const attachments: Attachments = [
  { name: "notes.md", content: "first\nneedle in the notes\n" },
  { name: "unread.txt", content: `text ${unread}` },
  { name: "unread.bin", content: unread64, encoding: "base64", mimeType: "application/octet-stream" },
];

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");
const readNotes = { id: "r", name: "read", args: { path: "@attachments/notes.md" } };

const gatewayOf = (provider?: FakeOpenAi): Promise<TestGateway> => {
  if (provider === undefined) return startGateway({ config: on });
  const local = { api: "openai-compatible", baseUrl: provider.baseUrl };
  return startGateway({
    config: { models: { providers: { local } }, agents: { defaults: { ...on.agents.defaults, model: "local/small" } } },
  });
};

function spawn(ask: Ask, key: string): Promise<Result<"subagents.spawn">> {
  return gw.callerWith("operator.write").call("subagents.spawn", { task: script("x", { say: "seen" }), ...ask, idempotencyKey: key });
}

async function ended(within: TestGateway, subagent: string): Promise<void> {
  const { status } = await within.callerWith("operator.read").call("subagents.wait", { subagents: [subagent], timeoutSeconds: 30 });
  assert.equal(status, "ended");
}

const folderOf = (within: TestGateway): string => join(within.stateDir, "attachments");

/** Empty, too, when nothing was ever handed over. */
const foldersOf = (within: TestGateway): Promise<string[]> => readdir(folderOf(within)).catch(() => []);

/** Which conversation it is, by what was said first. */
const startedBy = (body: ChatBody): string => String(body.messages?.find(({ role }) => role === "user")?.content ?? "");

/** The parent hands files over and then tries to read them; the child reads them, another child tries to. */
function answerer() {
  const outputs = new Map<string, string>();
  const handler = ({ body }: { readonly body: ChatBody }) => {
    const who = startedBy(body);
    const results = body.messages?.filter(({ role }) => role === "tool") ?? [];
    if (results.length === 0) {
      if (who === "CHILD") {
        return callTools(
          readNotes,
          { id: "l", name: "ls", args: { path: "@attachments" } },
          { id: "g", name: "grep", args: { pattern: "needle", path: "@attachments/" } },
          { id: "u", name: "read", args: { path: "@attachments/../../secret" } },
        );
      }
      if (who === "OTHER") return callTools(readNotes);
      if (who !== "go") return say("done");
      return callTools(
        { id: "s", name: "sessions_spawn", args: { task: "CHILD", label: "child", attachments } },
        { id: "o", name: "sessions_spawn", args: { task: "OTHER", label: "other" } },
        { id: "r", name: "read", args: { path: "@attachments/notes.md" } },
      );
    }
    // Tools of one reply run side by side: their order is nobody's.
    for (const { tool_call_id: id, content } of results) outputs.set(`${who} ${id}`, String(content));
    return say("done");
  };
  return { outputs, handler };
}

/** A model's spawn and everything that came of it, once. */
const world = await (async () => {
  const model = answerer();
  const provider = await startFakeOpenAi({ handler: model.handler });
  const gw = await gatewayOf(provider);
  const events: unknown[] = [];
  gw.gateway.bus.subscribe("agent", (event) => void events.push(event));
  gw.gateway.bus.subscribe("chat", (event) => void events.push(event));
  return { ...model, provider, gw, events };
})();

/** For what needs no model that calls tools. */
const gw = await gatewayOf();

before(async () => {
  await world.gw.callerWith("operator.write").call("agent", { message: "go", idempotencyKey: "go" });
  await Promise.all(["child", "other"].map((label) => ended(world.gw, label)));
});

after(async () => {
  await world.gw[Symbol.asyncDispose]();
  await gw[Symbol.asyncDispose]();
  await world.provider[Symbol.asyncDispose]();
});

test("the child reads its files and is told of them; its parent and another child cannot reach them", () => {
  const [read, ls, grep, climbed] = ["r", "l", "g", "u"].map((id) => world.outputs.get(`CHILD ${id}`));
  const child = world.provider.requests.find(({ body }) => startedBy(body) === "CHILD") ?? assert.fail("the child asked nothing");
  const system = String(child.body.messages?.[0]?.content);

  assert.equal(read, "first\nneedle in the notes\n");
  assert.equal(ls, "notes.md\nunread.bin\nunread.txt");
  assert.equal(grep, "@attachments/notes.md:2: needle in the notes");
  assert.match(climbed ?? "", /is outside the workspace/);
  assert.match(
    system,
    new RegExp(`"@attachments/unread.bin" \\(23 bytes, application/octet-stream, sha256 ${sha256(`${unread} as bytes`)}\\)`),
  );
  for (const who of ["go", "OTHER"])
    assert.match(world.outputs.get(`${who} r`) ?? "", /There is no @attachments\/notes\.md in the workspace/);
});

test("the receipt names every file by its digest", () => {
  const receipt = JSON.parse(world.outputs.get("go s") ?? "") as Result<"subagents.spawn">;

  assert.deepEqual(receipt.attachments, {
    count: 3,
    totalBytes: 68,
    files: [
      { name: "notes.md", bytes: 26, sha256: sha256("first\nneedle in the notes\n") },
      { name: "unread.txt", bytes: 19, sha256: sha256(`text ${unread}`) },
      { name: "unread.bin", bytes: 23, sha256: sha256(`${unread} as bytes`) },
    ],
    dir: "@attachments",
  });
});

test("files are for the gateway's user alone, in a folder that no input named", async () => {
  const [id = "", ...others] = await foldersOf(world.gw);
  const modes = await Promise.all(
    ["", "notes.md", "unread.bin"].map(async (name) => (await stat(join(folderOf(world.gw), id, name))).mode & 0o777),
  );

  assert.deepEqual([modes, others], [[0o700, 0o600, 0o600], []]);
  assert.match(id, /^[0-9a-f-]{36}$/);
  assert.equal(await readFile(join(folderOf(world.gw), id, "unread.bin"), "utf8"), `${unread} as bytes`);
});

test("what nobody read is in its file alone: not in the store, an event, the log or a later prompt", async () => {
  const files = (await readdir(world.gw.stateDir, { withFileTypes: true })).filter((entry) => entry.isFile());
  const contents = await Promise.all(files.map(({ name }) => readFile(join(world.gw.stateDir, name))));
  const told = JSON.stringify([world.events, world.gw.logLines, world.provider.requests.map(({ body }) => body)]);

  for (const marker of [unread, unread64]) {
    assert.deepEqual(
      files.filter((_, index) => contents[index]?.includes(marker)).map(({ name }) => name),
      [],
    );
    assert.ok(!told.includes(marker));
  }
  // It looked where it would be.
  const digest = sha256(`text ${unread}`);
  assert.ok(contents.some((content) => content.includes(digest)));
  assert.ok(JSON.stringify(world.events).includes(digest));
});

test("a refused spawn leaves no file, and a repeated one finds the first child, also by what a transcript keeps", async () => {
  const hung = { task: script("x", { hang: true }), taskName: "one" };
  const first = await spawn({ ...hung, attachments: [{ name: "a", content: "text" }] }, "k");
  const folders = await foldersOf(gw);
  const withheld = { redacted: true, bytes: 4, sha256: sha256("text") } as const;

  const same = await spawn({ ...hung, attachments: [{ name: "a", content: "dGV4dA==", encoding: "base64" }] }, "k");
  const redacted = await spawn({ ...hung, attachments: [{ name: "a", content: withheld }] }, "k");
  for (const [ask, key, code] of [
    [{ ...hung, attachments: [{ name: "a", content: "texd" }] }, "k", "IDEMPOTENCY_MISMATCH"],
    [{ ...hung, attachments: [{ name: "b", content: "text" }] }, "k", "IDEMPOTENCY_MISMATCH"],
    [{ ...hung, attachments: [{ name: "a", content: "text" }] }, "other", "TASK_NAME_TAKEN"],
    [{ attachments: [{ name: "a", content: withheld }] }, "other", "ATTACHMENT_UNUSABLE"],
    [{ attachments: [{ name: "../a", content: "" }] }, "other", "ATTACHMENT_UNUSABLE"],
    [{ attachments: [{ name: "a", content: "x".repeat(101) }] }, "other", "ATTACHMENT_LIMIT"],
  ] satisfies readonly (readonly [Ask, string, string])[]) {
    await assert.rejects(spawn(ask, key), { code });
  }

  assert.deepEqual([same.runId, redacted.runId, redacted.attachments], [first.runId, first.runId, first.attachments]);
  assert.equal(folders.length, 1);
  assert.deepEqual(await foldersOf(gw), folders);
  assert.equal(await gw.gateway.store.sessions.count(), 2);
});

test("files go with the session, at its deletion and when it is archived, and no others", async () => {
  const caller = gw.callerWith("operator.write", "operator.admin");
  const one = [{ name: "a", content: "text" }];
  const kept = await spawn({ attachments: one }, "kept");
  const before = await foldersOf(gw);
  const deleted = await spawn({ attachments: one }, "deleted");
  const archived = await spawn({ attachments: one }, "archived");
  await Promise.all([kept, deleted, archived].map(({ runId }) => ended(gw, runId)));
  const counts = [(await foldersOf(gw)).length - before.length];

  await caller.call("sessions.delete", { key: deleted.childSessionKey, deleteTranscript: true });
  counts.push((await foldersOf(gw)).length - before.length);
  await caller.call("sessions.patch", { key: archived.childSessionKey, archived: true });

  assert.deepEqual([...counts, await foldersOf(gw)], [2, 1, before]);
});

test("files of a child with cleanup delete go once its result was read", async () => {
  const kept = await foldersOf(gw);
  const gone = Promise.withResolvers<string>();
  using _deletions = gw.gateway.bus.subscribe("sessions.changed", ({ sessionKey, reason }) => {
    if (reason === "delete") gone.resolve(sessionKey);
  });

  const { childSessionKey } = await spawn({ attachments: [{ name: "a", content: "text" }], cleanup: "delete" }, "cleanup");

  assert.equal(await gone.promise, childSessionKey);
  // A stop waits for the clean-up that is at work.
  await gw.restart();
  assert.deepEqual(await foldersOf(gw), kept);
});

test("what a crash left over goes at the next start, and only that", async () => {
  await spawn({ task: script("x", { hang: true }), attachments: [{ name: "a", content: "text" }] }, "crash");
  const kept = await foldersOf(gw);
  const leftover = join(folderOf(gw), "0198a7e0-0000-4000-8000-000000000000");
  await mkdir(leftover);
  await writeFile(join(leftover, "a"), "left");
  await mkdir(join(folderOf(gw), "not-ours"));

  await gw.restart();
  // A stop waits for the sweep of the start.
  await gw.restart();

  assert.deepEqual((await foldersOf(gw)).toSorted(), [...kept, "not-ours"].toSorted());
});

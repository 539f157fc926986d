/** Who hears what over real sockets of both versions: numbers, slow readers, subscriptions, scopes, long texts. */
import assert from "node:assert/strict";
import test from "node:test";
import { limits, type ChatEvent } from "@portreeve/protocol";
import { startFakeOpenAi } from "./support/fake-openai.ts";
import { script, spawnStep } from "./support/script.ts";
import { startGateway, type TestGateway } from "./support/start-gateway.ts";
import { connectWire, createWireKey, type Frame, type Wire } from "./support/wire-client.ts";

const versions = [3, 4] as const;

const connect = (gw: TestGateway, protocol: 3 | 4, scopes: readonly string[], key = createWireKey()) =>
  connectWire(gw.url, { key, token: gw.token, scopes, protocol });

const numbersOf = (frames: readonly Frame[]) => frames.flatMap(({ seq }) => (seq === undefined ? [] : [seq]));
const upTo = (count: number) => Array.from({ length: count }, (_, index) => index + 1);
const isEnd = (runId: string) => (frame: Frame) =>
  frame.event === "chat" && frame.payload?.["runId"] === runId && frame.payload["state"] === "final";

async function run(gw: TestGateway, idempotencyKey: string, message = script("go", { say: "said" })): Promise<void> {
  await gw.callerWith("operator.write").call("agent", { message, idempotencyKey });
}

for (const protocol of versions) {
  test(`version ${protocol}: each connection numbers what it hears from one and without a gap, whatever others hear`, async () => {
    await using gw = await startGateway();
    await using early = await connect(gw, protocol, ["operator.read"]);
    await run(gw, "k1");
    await early.frame(isEnd("k1"));
    await using late = await connect(gw, protocol, ["operator.admin"]);
    await late.request("sessions.subscribe", {});

    await run(gw, "k2");
    await Promise.all([early, late].map((wire) => wire.frame(isEnd("k2"))));

    for (const { frames } of [early, late]) assert.deepEqual(numbersOf(frames), upTo(numbersOf(frames).length));
    assert.ok(numbersOf(early.frames).length > numbersOf(late.frames).length);
    assert.ok(early.frames.every(({ type, seq, event }) => type === "event" || (seq === undefined && event === undefined)));
  });

  test(`version ${protocol}: a subscription ends with its socket`, async () => {
    await using gw = await startGateway();
    const key = createWireKey();
    {
      await using before = await connect(gw, protocol, ["operator.read"], key);
      await before.request("sessions.subscribe", {});
      await before.request("sessions.messages.subscribe", { key: "main" });
    }
    await using again = await connect(gw, protocol, ["operator.read"], key);
    await using other = await connect(gw, protocol, ["operator.read"]);
    await other.request("sessions.subscribe", {});

    await run(gw, "k1");
    await other.frame(
      (frame) => frame.event === "sessions.changed" && frame.payload?.["phase" in frame.payload ? "phase" : "reason"] !== "create",
    );
    await Promise.all([again, other].map((wire) => wire.frame(isEnd("k1"))));
    await again.request("health");

    assert.deepEqual(
      again.frames.filter(({ event = "" }) => event.startsWith("session")),
      [],
    );
  });

  test(`version ${protocol}: nobody hears an event whose scope it lacks, nor what was said in any`, async () => {
    await using gw = await startGateway();
    const asked = [["operator.pairing"], ["operator.approvals"], ["operator.read"]] as const;
    await using pairing = await connect(gw, protocol, asked[0]);
    await using approvals = await connect(gw, protocol, asked[1]);
    await using bare = await connectWire(gw.url, { key: createWireKey(), token: gw.token, protocol });
    await using node = await connectWire(gw.url, { key: createWireKey(), token: gw.token, role: "node", protocol });
    await using reader = await connect(gw, protocol, asked[2]);
    const secret = "the word is swordfish";
    await using newcomer = await connect(gw, protocol, ["operator.read"]);

    await run(gw, "k1", script("go", { call: [{ tool: "ls", args: {} }] }, { say: secret }));
    const { id } = await gw.callerWith("operator.admin").call("cron.add", {
      name: secret,
      schedule: { kind: "every", everyMs: 3_600_000 },
      sessionTarget: "main",
      wakeMode: "now",
      payload: { kind: "systemEvent", text: secret },
    });
    await reader.frame(({ event, payload }) => event === "cron" && payload?.["jobId"] === id);
    const deaf: readonly Wire[] = [pairing, approvals, bare, node];
    await Promise.all(deaf.map((wire) => wire.request("health")));

    const told = new Set(reader.frames.flatMap(({ event }) => event ?? []));
    assert.ok(["chat", "agent", "cron"].every((name) => told.has(name)));
    assert.ok(newcomer.frames.some(isEnd("k1")));
    for (const { frames } of deaf) {
      assert.deepEqual(
        frames.filter(({ event = "" }) => /^(chat|agent|cron|session)/.test(event)),
        [],
      );
      assert.doesNotMatch(JSON.stringify(frames), /swordfish/);
    }
  });
}

/** As a run tells it: one piece of a reply, and its end. */
const told = (seq: number, text: string, state: "delta" | "final"): ChatEvent => {
  const message = { role: "assistant" as const, content: [{ type: "text" as const, text }], timestamp: seq };
  const envelope = { runId: "k1", sessionKey: "agent:main:main", agentId: "main", seq, message };
  return state === "delta" ? { ...envelope, state, deltaText: text } : { ...envelope, state, stopReason: "stop" };
};

const mebibyte = "x".repeat(1_048_576);
/** More than a connection may have before it, and what the machine's own buffers hold. */
const pieces = limits.maxBufferedBytes / mebibyte.length + 20;

const isPiece = (seq: number) => (frame: Frame) => frame.event === "chat" && frame.payload?.["seq"] === seq;

/** Tells a long text, as fast as `reader` reads it. */
async function tellLongText(gw: TestGateway, reader: Wire): Promise<void> {
  for (let seq = 1; seq <= pieces; seq += 1) {
    gw.gateway.bus.publish("chat", told(seq, mebibyte, "delta"));
    await reader.frame(isPiece(seq));
  }
}

test("whoever stops reading loses pieces of a text and sees the gap, or is closed at what it must hear; nobody else notices", async () => {
  await using gw = await startGateway();
  const open = (protocol: 3 | 4) => connect(gw, protocol, ["operator.read"]);
  await using reader = await open(4);
  await using slow = new AsyncDisposableStack();
  const [back, gone] = [
    [await open(3), await open(4)],
    [await open(3), await open(4)],
  ];
  for (const wire of [...back, ...gone]) slow.use(wire).pause();

  await tellLongText(gw, reader);
  for (const wire of back) wire.resume();
  // Told until these have room again: what has none is lost, and uses up a number.
  let seq = pieces;
  let isClosed = false;
  void Promise.race(back.map(({ closed }) => closed)).then(() => (isClosed = true));
  const hear = (): boolean => back.every(({ frames }) => frames.some((frame) => Number(frame.payload?.["seq"]) > pieces));
  while (!hear() && !isClosed) {
    gw.gateway.bus.publish("chat", told((seq += 1), "a piece", "delta"));
    await new Promise(setImmediate);
  }
  gw.gateway.bus.publish("chat", told(seq + 1, "the end", "final"));
  for (const wire of gone) wire.resume();
  await Promise.all([...back, reader].map((wire) => wire.frame(isEnd("k1"))));

  const heard = numbersOf(reader.frames);
  assert.deepEqual(heard, upTo(heard.length));
  for (const wire of back) {
    const numbers = numbersOf(wire.frames);
    assert.equal(numbers.at(-1), heard.length);
    assert.ok(numbers.length < heard.length);
    assert.ok(numbers.every((number, index) => index === 0 || number > (numbers[index - 1] ?? 0)));
    assert.equal((await wire.request("health")).ok, true);
  }
  for (const wire of gone) assert.deepEqual(await wire.closed, { code: 1008, reason: "slow consumer" });
});

test("a run with 6 MiB of text is told whole to both versions, and nothing of it is lost", async () => {
  await using provider = await startFakeOpenAi();
  const said = "y".repeat(65_536).repeat(96);
  provider.enqueue({ steps: [...Array.from({ length: 96 }, () => ({ text: said.slice(0, 65_536) })), { finish: "stop" }] });
  const providers = { fake: { api: "openai-compatible", baseUrl: provider.baseUrl, apiKey: "none" } };
  await using gw = await startGateway({ config: { models: { providers }, agents: { defaults: { model: "fake/test" } } } });
  await using three = await connect(gw, 3, ["operator.write"]);
  await using four = await connect(gw, 4, ["operator.write"]);

  await run(gw, "k1", "speak");
  const ends = await Promise.all([three, four].map((wire) => wire.frame(isEnd("k1"))));
  const run1 = await gw.gateway.store.runs.findByWireId("k1", {});
  const { messages } = await gw.gateway.store.sessions.listMessages("agent:main:main", { limit: 1, offset: 0 });

  for (const { payload } of ends) assert.ok(textIn(payload?.["message"]) === said);
  const pieceTexts = four.frames.flatMap(({ event, payload }) =>
    event === "chat" && payload?.["state"] === "delta" ? [String(payload["deltaText"])] : [],
  );
  assert.ok(pieceTexts.join("") === said);
  assert.ok(run1?.ending?.text === said && textIn(messages[0]) === said);
  assert.equal((await three.request("chat.history", { sessionKey: "main" })).ok, true);
  assert.equal((await four.request("chat.history", { sessionKey: "main" })).ok, true);
});

function textIn(message: unknown): string {
  const { content } = message as { content: readonly { text: string }[] };
  return content.map(({ text }) => text).join("");
}

test("the events of a run that is stopped while it waits go on where it stood, also in another process", async () => {
  await using gw = await startGateway();
  const watcher = { key: createWireKey(), token: gw.token, scopes: ["operator.read", "operator.write"], extra: { caps: ["tool-events"] } };
  const message = script("delegate", { call: [spawnStep("kid", { hang: true })] }, { awaitChildren: true });
  let before = 0;
  const isOf = ({ event, payload }: Frame): boolean => (event === "agent" || event === "chat") && payload?.["runId"] === "waits";
  {
    await using wire = await connectWire(gw.url, watcher);
    await wire.request("chat.send", { sessionKey: "main", message, idempotencyKey: "waits" });
    for (let status: unknown; status !== "waiting";)
      status = ((await wire.request("runs.get", { runId: "waits" })).payload?.["run"] as { status: unknown } | undefined)?.status;
    before = Math.max(...wire.frames.filter(isOf).map(({ payload }) => Number(payload?.["seq"])));
  }
  await gw.restart();
  await using wire = await connectWire(gw.url, watcher);

  await wire.request("chat.abort", { sessionKey: "main" });
  await wire.frame(({ event, payload }) => event === "chat" && payload?.["runId"] === "waits" && payload["state"] === "aborted");

  assert.deepEqual(
    wire.frames.filter(isOf).map(({ payload }) => payload?.["seq"]),
    [before + 1, before + 2],
  );
});

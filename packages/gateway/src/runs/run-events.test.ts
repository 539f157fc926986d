import assert from "node:assert/strict";
import test from "node:test";
import type { AgentEvent, ChatEvent } from "@portreeve/protocol";
import { Bus } from "../bus.ts";
import type { Clock } from "../kit/clock.ts";
import type { RunRecord } from "../store/store.ts";
import { RunEvents } from "./run-events.ts";

/** Time that moves when it is told to. */
function createClock() {
  let nowMs = 1_000;
  const tasks = new Set<{ atMs: number; task: () => void }>();
  const clock: Clock = {
    now: () => nowMs,
    schedule(atMs, task) {
      const entry = { atMs, task };
      tasks.add(entry);
      return { [Symbol.dispose]: () => void tasks.delete(entry) };
    },
  };
  const advance = (ms: number): void => {
    nowMs += ms;
    for (const entry of [...tasks].filter(({ atMs }) => atMs <= nowMs)) {
      tasks.delete(entry);
      entry.task();
    }
  };
  return { clock, advance };
}

function watch(firstSeq = 0) {
  const { clock, advance } = createClock();
  const bus = new Bus();
  const chats: ChatEvent[] = [];
  const agents: AgentEvent[] = [];
  bus.subscribe("chat", (event) => chats.push(event));
  bus.subscribe("agent", (event) => agents.push(event));
  const run: RunRecord = {
    runId: "run_1",
    wireId: "k1",
    sessionKey: "agent:main:main",
    sessionId: "s",
    rootSessionKey: "agent:main:main",
    agentId: "main",
    trigger: "message",
    input: "hi",
    label: undefined,
    model: "scripted/scripted",
    authority: { scopes: ["operator.write"], owner: false, depth: 0 },
    terms: {},
    expectsCompletion: true,
    timeoutMs: undefined,
    startedBy: "device:a",
    parentRunId: undefined,
    parentSessionKey: undefined,
    status: "running",
    deadlineAtMs: undefined,
    createdAtMs: 1,
    startedAtMs: 2,
    endedAtMs: undefined,
    ending: undefined,
    usage: { input: 0, output: 0, totalTokens: 0 },
    costMicroUsd: 0,
  };
  return { events: new RunEvents(bus, clock, run, firstSeq), run, chats, agents, advance };
}

const deltas = (chats: readonly ChatEvent[]) =>
  chats.flatMap((event) => (event.state === "delta" ? [[event.message.content[0]?.text, event.deltaText, event.replace ?? false]] : []));

test("text goes out at once, then at most every 150 ms, cumulative, and what is left goes before the end", () => {
  const { events, run, chats, advance } = watch();

  for (const word of ["a", "b", "c"]) events.addText(word);
  advance(150);
  events.addText("d");
  events.ended({ ...run, status: "succeeded", endedAtMs: 9, ending: { text: "abcd", error: undefined, stopReason: "stop" } });

  assert.deepEqual(deltas(chats), [
    ["a", "a", false],
    ["abc", "bc", false],
    ["abcd", "d", false],
  ]);
  assert.equal(chats.at(-1)?.state, "final");
});

test("a long text goes out less often: what is told in a second stays bounded", () => {
  const { events, chats, advance } = watch();
  const [long, piece] = ["x".repeat(640 * 1_024), "y".repeat(640)];

  events.addText(long);
  for (let count = 0; count < 30; count += 1) {
    events.addText(piece);
    advance(100);
  }

  assert.deepEqual(
    deltas(chats).map(([text = ""]) => String(text).length),
    [long.length, long.length + 16 * piece.length],
  );
});

test("a reply that begins again replaces the text that was shown", () => {
  const { events, chats, advance } = watch();

  events.addText("half a repl");
  events.resetText();
  events.toolStarted({ id: "t", name: "ls", arguments: {} });
  advance(150);
  events.addText("a whole reply");
  events.flushText();

  assert.deepEqual(deltas(chats), [
    ["half a repl", "half a repl", false],
    ["a whole reply", "a whole reply", true],
  ]);
});

test("events of a run are numbered without a gap over both kinds, from where they stood", () => {
  const { events, run, chats, agents } = watch(7);

  events.started();
  events.addText("x");
  events.toolStarted({ id: "t", name: "ls", arguments: {} });
  events.toolEnded({ id: "t", name: "ls" }, { isError: false, details: "ok" });
  events.ended({ ...run, status: "failed", ending: { text: "", error: "no", stopReason: "auth" } });

  const seqs = [...chats, ...agents].map((event) => event.seq).toSorted((a, b) => a - b);
  assert.deepEqual(seqs, [8, 9, 10, 11, 12, 13, 14]);
});

test("nothing is sent after the events were disposed", () => {
  const { events, chats, advance } = watch();
  events.addText("a");
  events.addText("b");

  events[Symbol.dispose]();
  advance(1_000);

  assert.equal(chats.length, 1);
});

test("nothing is told after the end", () => {
  const { events, run, chats, agents } = watch();
  events.ended({ ...run, status: "succeeded", endedAtMs: 9, ending: { text: "", error: undefined, stopReason: "stop" } });
  const told = [chats.length, agents.length];

  events.addText("late");
  events.toolEnded({ id: "c1", name: "ls" }, { isError: false, details: "late" });

  assert.deepEqual([chats.length, agents.length], told);
});

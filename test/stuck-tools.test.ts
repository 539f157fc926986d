/** Tools that do not let go: whatever they do, the run they belong to ends, and so does the gateway. */
import assert from "node:assert/strict";
import test from "node:test";
import { z } from "zod";
import { defineTool, type Tool, type ToolResult } from "../packages/gateway/src/tools/tool.ts";
import { gate } from "./support/gate-tool.ts";
import { createManualClock, type ManualClock } from "./support/manual-clock.ts";
import { script } from "./support/script.ts";
import { startGateway, type TestGateway } from "./support/start-gateway.ts";

interface Stuck {
  readonly tool: Tool;
  readonly entered: Promise<void>;
  readonly answer: (result: ToolResult) => void;
  readonly fail: (error: Error) => void;
}

/** A tool that looks at no signal, and answers when the test says so. */
function stuck(): Stuck {
  const entered = Promise.withResolvers<void>();
  const { promise, resolve, reject } = Promise.withResolvers<ToolResult>();
  const tool = defineTool({
    name: "stuck",
    description: "Does not listen.",
    parameters: z.strictObject({}),
    repeat: "ask",
    execute() {
      entered.resolve();
      return promise;
    },
  });
  return { tool, entered: entered.promise, answer: resolve, fail: reject };
}

const use = { call: [{ tool: "stuck", args: {} }] };

/** Lets an hour pass, a second at a time, or less once `work` has settled. */
async function runUntil<T>(clock: ManualClock, work: Promise<T>): Promise<T> {
  let isSettled = false;
  const settle = (): void => void (isSettled = true);
  work.then(settle, settle);
  for (let second = 0; !isSettled; second += 1) {
    await new Promise(setImmediate);
    assert.ok(second < 3_600, "it goes on after an hour");
    if (!isSettled) clock.advance(1_000);
  }
  return await work;
}

/** What the log says of tools that did not let go. */
function leftBehind(gw: TestGateway): readonly unknown[] {
  return gw.logLines.flatMap(({ facts, message }) => (message.includes("did not let go") ? [[facts["tool"], facts["reason"]]] : []));
}

async function historyOf(gw: TestGateway, sessionKey: string): Promise<string> {
  return JSON.stringify((await gw.callerWith("operator.read").call("chat.history", { sessionKey })).messages);
}

test("a child whose tool does not let go ends soon after its deadline, its parent reads so, and a late answer is not written", async () => {
  const clock = createManualClock();
  const { tool, entered, answer } = stuck();
  await using gw = await startGateway({ clock, tools: [tool] });
  const { call } = gw.callerWith("operator.write", "operator.read");
  const spawn = { tool: "sessions_spawn", args: { task: script("work", use), runTimeoutSeconds: 30 } };
  const asked = call("agent", { message: script("go", { call: [spawn] }, { awaitChildren: true }, { say: "read" }), idempotencyKey: "k" });
  await entered;

  const { result } = await runUntil(clock, asked);
  answer({ text: "too late" });
  const [child] = (await call("runs.list", {})).runs.filter(({ depth }) => depth === 1);
  const childHistory = await historyOf(gw, child?.sessionKey ?? "");

  assert.match(result.payloads[0]?.text ?? "", /^read/);
  assert.match(await historyOf(gw, "main"), /outcome=\\"timed_out\\"/);
  assert.equal(child?.status, "timed_out");
  assert.ok((child.endedAt ?? 0) - (child.deadlineAt ?? 0) < 10_000);
  assert.deepEqual(leftBehind(gw), [["stuck", "deadline"]]);
  assert.doesNotMatch(childHistory, /too late/);
});

test("a run whose tool does not let go stalls, and what the tool throws later hurts nobody", async () => {
  const clock = createManualClock();
  const { tool, entered, fail } = stuck();
  await using gw = await startGateway({ clock, tools: [tool], config: { agents: { defaults: { stallSeconds: 100 } } } });
  const { call } = gw.callerWith("operator.write");
  const stalled = assert.rejects(
    call("agent", { message: script("go", use), idempotencyKey: "k" }),
    /nothing came of the tools stuck for 100 s/,
  );
  await entered;

  await runUntil(clock, stalled);
  fail(new Error("thrown to nobody"));
  const next = await call("agent", { message: script("again", { say: "still here" }), idempotencyKey: "k2" });

  assert.match(next.result.payloads[0]?.text ?? "", /^still here/);
  assert.deepEqual(leftBehind(gw), [["stuck", "stalled"]]);
});

test("a stop says that a tool did not let go, also where another of the same reply did", async () => {
  const clock = createManualClock();
  const { tool, entered, answer } = stuck();
  const good = gate();
  await using gw = await startGateway({ clock, tools: [tool, good.tool] });
  const { call } = gw.callerWith("operator.write");
  const both = { call: [{ tool: "gate", args: {} }, ...use.call] };
  await call("chat.send", { sessionKey: "main", message: script("go", both), idempotencyKey: "k" });
  await Promise.all([entered, good.entered]);

  const refused = assert.rejects(
    call("chat.abort", { sessionKey: "main" }),
    (error: Error & { details?: { failed?: readonly { isStopped: boolean; pids: readonly number[] }[] } }) => {
      assert.deepEqual(
        error.details?.failed?.map(({ isStopped, pids }) => [isStopped, pids]),
        [[false, []]],
      );
      return true;
    },
  );
  await runUntil(clock, refused);
  answer({ text: "too late" });

  assert.deepEqual(leftBehind(gw), [["stuck", "cancelled"]]);
});

test("a gateway stops although a tool does not let go, and the next one knows nothing of its effect", async () => {
  const clock = createManualClock();
  const { tool, entered, answer } = stuck();
  await using gw = await startGateway({ clock, tools: [tool] });
  const { call } = gw.callerWith("operator.write");
  await call("chat.send", { sessionKey: "main", message: script("go", use, { say: "told: {{result:1}}" }), idempotencyKey: "k" });
  await entered;

  await runUntil(clock, gw.restart());
  answer({ text: "too late" });
  const ended = await gw.callerWith("operator.write").call("agent.wait", { runId: "k" });

  assert.equal(ended.status, "ok");
  assert.match(await historyOf(gw, "main"), /told: The gateway stopped while stuck was running .* unknown/);
  assert.doesNotMatch(await historyOf(gw, "main"), /too late/);
});

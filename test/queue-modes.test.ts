/** Messages for a session in which a run works, through the public door. */
import assert from "node:assert/strict";
import test from "node:test";
import { errorRules, type ProtocolError } from "@portreeve/protocol";
import { gate } from "./support/gate-tool.ts";
import { script } from "./support/script.ts";
import { startGateway, type TestGateway } from "./support/start-gateway.ts";

const sessionKey = "agent:main:main";

async function transcript(gw: TestGateway): Promise<readonly string[]> {
  const { messages } = await gw.callerWith("operator.read").call("chat.history", { sessionKey });
  return messages.flatMap(({ role, content }) =>
    content.flatMap((block) => (block.type === "text" ? [`${role}: ${block.text.split("\n")[0] ?? ""}`] : [])),
  );
}

const send = (gw: TestGateway, message: string, idempotencyKey: string, queueMode?: "steer" | "followup" | "collect" | "interrupt") =>
  gw
    .callerWith("operator.write")
    .call("chat.send", { sessionKey, message, idempotencyKey, ...(queueMode === undefined ? {} : { queueMode }) });

const wait = (gw: TestGateway, runId: string) => gw.callerWith("operator.write").call("agent.wait", { runId });

const working = script("work", { call: [{ tool: "gate", args: {} }] }, { say: "the first plan" });

test("a chat message steers the run that works before it speaks again, and ends without a turn of its own", async () => {
  const { tool, entered, open } = gate();
  await using gw = await startGateway({ tools: [tool] });
  await send(gw, working, "k1");
  await entered;

  const answer = await send(gw, script("rather this", { say: "the new plan" }), "k2");
  open();
  const steered = await wait(gw, "k2");
  await wait(gw, "k1");

  assert.deepEqual([answer, steered.status, steered.stopReason], [{ runId: "k2", status: "started" }, "ok", "steered"]);
  assert.deepEqual(await transcript(gw), ["user: work", "user: rather this", "assistant: the new plan"]);
});

test("a message in mode followup waits for its own turn", async () => {
  const { tool, entered, open } = gate();
  await using gw = await startGateway({ tools: [tool] });
  await send(gw, working, "k1");
  await entered;

  await send(gw, script("then this", { say: "and then" }), "k2", "followup");
  open();
  await wait(gw, "k2");

  assert.deepEqual(await transcript(gw), ["user: work", "assistant: the first plan", "user: then this", "assistant: and then"]);
});

test("an interrupting message stops the run that works, and is answered instead", async () => {
  const { tool, entered, open } = gate();
  await using gw = await startGateway({ tools: [tool] });
  await send(gw, working, "k1");
  await entered;

  await send(gw, script("no, this", { say: "as you wish" }), "k2", "interrupt");
  const stopped = await wait(gw, "k1");
  open();
  await wait(gw, "k2");

  assert.deepEqual([stopped.status, stopped.stopReason], ["error", "aborted"]);
  assert.deepEqual(await transcript(gw), ["user: work", "user: no, this", "assistant: as you wish"]);
});

test("a message of a device without admin does not steer the owner's run", async () => {
  const { tool, entered, open } = gate();
  await using gw = await startGateway({ tools: [tool] });
  await gw.callerWith("operator.admin").call("chat.send", { sessionKey, message: working, idempotencyKey: "k1" });
  await entered;

  await send(gw, script("let me in", { say: "mine" }), "k2");
  open();
  await wait(gw, "k2");

  assert.deepEqual(await transcript(gw), ["user: work", "assistant: the first plan", "user: let me in", "assistant: mine"]);
});

test("a steering message survives a restart", async () => {
  const { tool, entered, open } = gate();
  await using gw = await startGateway({ tools: [tool] });
  await send(gw, working, "k1");
  await entered;
  await send(gw, script("rather this", { say: "the new plan" }), "k2");

  await gw.restart();
  open();
  await wait(gw, "k1");

  assert.deepEqual(await transcript(gw), ["user: work", "user: rather this", "assistant: the new plan"]);
});

test("a message for a session in which too many wait is refused for the time being, with what to do", async () => {
  const { tool, entered, open } = gate();
  await using gw = await startGateway({ tools: [tool] });
  await send(gw, working, "k0");
  await entered;
  for (let count = 1; count <= 200; count += 1) await send(gw, "more", `k${count}`);

  await assert.rejects(send(gw, "too much", "k201"), (error: ProtocolError) => {
    assert.deepEqual([error.code, errorRules[error.code].retryable], ["SESSION_BUSY", true]);
    assert.match(error.message, /^200 messages wait in agent:main:main/);
    assert.match(error.remedy ?? "", /chat\.abort/);
    return true;
  });
  open();
  await wait(gw, "k200");

  assert.deepEqual(await send(gw, "now", "k201"), { runId: "k201", status: "started" });
});

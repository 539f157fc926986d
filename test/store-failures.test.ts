/** A disk that takes no writes for a while: what could not be written is tried again, and is nobody's death. */
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { join } from "node:path";
import test from "node:test";
import { z } from "zod";
import { defineTool } from "../packages/gateway/src/tools/tool.ts";
import { createManualClock } from "./support/manual-clock.ts";
import { script } from "./support/script.ts";
import { startGateway } from "./support/start-gateway.ts";

const turnOfTheLoop = () => new Promise(setImmediate);

test("a run whose steps cannot be written goes on when they can be, however often that was", async () => {
  const clock = createManualClock();
  let entered = Promise.withResolvers<() => void>();
  const tool = defineTool({
    name: "held",
    description: "Waits.",
    parameters: z.strictObject({}),
    repeat: "safe",
    execute: () => new Promise((resolve) => entered.resolve(() => resolve({ text: "open" }))),
  });
  await using gw = await startGateway({ clock, tools: [tool] });
  using other = new DatabaseSync(join(gw.stateDir, "portreeve.db"));
  const refused = () => gw.logLines.filter(({ message }) => message.startsWith("the run could not be written")).length;
  const message = script("work", { call: [{ tool: "held", args: {} }] }, { say: "done after all" });
  const answer = gw.callerWith("operator.write").call("agent", { message, idempotencyKey: "k" });

  for (let times = 1; times <= 6; times += 1) {
    const open = await runUntil(clock, entered.promise);
    entered = Promise.withResolvers();
    other.exec("begin immediate");
    open();
    while (refused() < times) await turnOfTheLoop();
    other.exec("rollback");
  }
  (await runUntil(clock, entered.promise))();

  assert.match((await answer).result.payloads[0]?.text ?? "", /^done after all/);
});

async function runUntil<T>(clock: { advance(byMs: number): void }, work: Promise<T>): Promise<T> {
  let isSettled = false;
  void work.finally(() => (isSettled = true));
  while (!isSettled) {
    for (let turns = 0; turns < 10 && !isSettled; turns += 1) await turnOfTheLoop();
    if (!isSettled) clock.advance(10_000);
  }
  return await work;
}

/** What becomes of sub-agents' sessions, and that nothing below them is harmed by it. */
import assert from "node:assert/strict";
import test from "node:test";
import { createManualClock } from "./support/manual-clock.ts";
import { script } from "./support/script.ts";
import { startGateway } from "./support/start-gateway.ts";

for (const expectsCompletionMessage of [true, false]) {
  const readBy = expectsCompletionMessage ? "what it delegated has been read" : "what it delegated, for nobody to read, has ended";
  test(`a session with cleanup delete goes when ${readBy}, not before, also after a restart`, async () => {
    // Nothing but what happens makes the clean-up look: its minute never passes.
    await using gw = await startGateway({ clock: createManualClock() });
    const grandchild = { label: "grandchild", task: script("grandchild", { hang: true }), expectsCompletionMessage };
    const task = script("child", { call: [{ tool: "sessions_spawn", args: grandchild }] }, { say: "done" });
    const child = { tool: "sessions_spawn", args: { label: "child", task, cleanup: "delete" } };
    const message = script("go", { call: [child] }, { awaitChildren: true }, { say: "{{children}}" });
    await gw.callerWith("operator.write").call("agent", { message, idempotencyKey: "k" });
    // A stop waits for the clean-up that is at work, and the next start looks again.
    await gw.restart();
    await gw.restart();
    const writer = gw.callerWith("operator.write");
    const gone = Promise.withResolvers<string>();
    using _ = gw.gateway.bus.subscribe("sessions.changed", ({ sessionKey, reason }) => {
      if (reason === "delete") gone.resolve(sessionKey);
    });

    const { subagents } = await writer.call("subagents.list", { depth: "all" });
    const { session } = await writer.call("sessions.describe", { key: subagents.find(({ label }) => label === "child")?.sessionKey ?? "" });
    await writer.call("subagents.cancel", { subagent: "grandchild" });

    assert.deepEqual(
      subagents.map(({ label, endedAt }) => [label, endedAt === undefined]),
      [
        ["grandchild", true],
        ["child", false],
      ],
    );
    assert.equal(await gone.promise, session?.key);
  });
}

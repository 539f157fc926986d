/** Stopping a tree of 200 running sub-agents: until the answer, and until the last of their model calls is cut off. */
import { toMessage } from "../model-server.ts";
import type { Case } from "../case.ts";
import { atMost, nowMs, repeat } from "../measure.ts";

const sessionKey = "bench-stop";

export const stop: Case = {
  name: "stop",
  about: "one stop for a tree of 200 running sub-agents",
  needs: "process",
  methods: ["subagents.spawn", "chat.abort"],
  async run({ isQuick, model, start }) {
    const half = isQuick ? 3 : 100;
    await using target = await start();
    using wire = await target.open();
    const tags = ["stop-root", ...Array.from({ length: 2 * half }, (_, index) => `stop-${index}`)];
    const rootRun = wire.agent(sessionKey, toMessage({ tag: "stop-root", hold: "never" }));
    await model.arrival("stop-root");
    // Half are the session's children, half the children of the first of them.
    const task = toMessage({ tag: "stop-0", hold: "never" });
    const first = await wire.request("subagents.spawn", { task, sessionKey, idempotencyKey: "stop-0" });
    const below = String(first["childSessionKey"]);
    await repeat(2 * half - 1, 20, (index) =>
      wire.spawn(index + 1 < half ? sessionKey : below, toMessage({ tag: `stop-${index + 1}`, hold: "never" })),
    );
    await Promise.all(tags.map((tag) => model.arrival(tag)));
    const startedAt = nowMs();
    const { runIds } = (await wire.request("chat.abort", { sessionKey })) as unknown as { runIds: readonly string[] };
    const answeredAt = nowMs();
    if (runIds.length !== tags.length) throw new Error(`${runIds.length} of ${tags.length} runs were stopped`);
    const ends = await Promise.all(tags.map((tag) => model.end(tag)));
    await rootRun;
    const lastEnd = Math.max(...ends.map(({ endedAt }) => endedAt));
    return [
      { name: `stop of ${tags.length} runs until its answer`, value: answeredAt - startedAt, unit: "ms", ...atMost(2_000) },
      { name: `stop of ${tags.length} runs until the last model call is cut`, value: lastEnd - startedAt, unit: "ms", ...atMost(2_000) },
    ];
  },
};

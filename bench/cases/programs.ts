/** Stopping a tree of 200 sub-agents, each with a program that has started another: until the answer, when none may be left. */
import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import type { Case } from "../case.ts";
import { atMost, nowMs, repeat } from "../measure.ts";
import { countProcesses } from "../processes.ts";

const sessionKey = "bench-programs";

export const programs: Case = {
  name: "programs",
  about: "one stop for a tree of 200 running sub-agents with their programs",
  needs: "process",
  methods: ["subagents.spawn", "chat.abort"],
  async run({ isQuick, startWithPrograms }) {
    const half = isQuick ? 3 : 100;
    await using target = await startWithPrograms();
    using wire = await target.open();
    const mark = `bench-${randomUUID()}`;
    const steps = [{ call: [{ tool: "program", args: { mark } }] }, { say: "done" }];
    const child = { task: `@script ${JSON.stringify(steps)}`, model: "scripted/scripted" };
    const spawn = (parent: string) => wire.request("subagents.spawn", { ...child, sessionKey: parent, idempotencyKey: randomUUID() });
    const below = String((await spawn(sessionKey))["childSessionKey"]);
    await repeat(2 * half - 1, 20, (index) => spawn(index + 1 < half ? sessionKey : below));
    // The shells: what they started does not show the mark.
    while (countProcesses(mark) < 2 * half) await pause(50);

    const startedAt = nowMs();
    await wire.request("chat.abort", { sessionKey });
    const answeredAt = nowMs();
    const left = countProcesses(mark);
    if (left > 0) throw new Error(`${left} programs live on after the stop was answered`);
    return [
      {
        name: `stop of ${2 * half} sub-agents with ${4 * half} processes until its answer`,
        value: answeredAt - startedAt,
        unit: "ms",
        ...atMost(2_000),
      },
    ];
  },
};

/** A job as the seed has it: a moment, an interval or an expression. */
import type { ParamsInput } from "@portreeve/protocol";
import type { World } from "./world.ts";

/** Expressions with what they mean: that many milliseconds of UTC apart. */
const expressions = { "*/10 * * * * *": 10_000, "*/20 * * * * *": 20_000, "* * * * *": 60_000, "*/5 * * * *": 300_000 } as const;

export function intervalOf(expr: string): number {
  return Object.hasOwn(expressions, expr) ? expressions[expr as keyof typeof expressions] : Number.NaN;
}

export function drawJob({ random, timeline, callers }: World): ParamsInput<"cron.add"> {
  const message = `job ${callers.nextJob()}.`;
  const isTurn = random.chance(0.7);
  const deadline = random.chance(0.2) ? { timeoutSeconds: 1 + random.int(60) } : {};
  const schedule = random.pick<ParamsInput<"cron.add">["schedule"]>([
    { kind: "at", at: new Date(timeline.nowMs + 1 + random.int(60_000)).toISOString() },
    { kind: "at", at: new Date(timeline.nowMs + 1 + random.int(60_000)).toISOString() },
    { kind: "every", everyMs: random.pick([5_000, 20_000, 61_007, 600_000]) },
    { kind: "cron", expr: random.pick(["*/10 * * * * *", "*/20 * * * * *", "* * * * *", "*/5 * * * *"]) },
  ]);
  return {
    name: message,
    schedule,
    ...(schedule.kind === "at" && random.chance(0.5) ? { deleteAfterRun: false } : {}),
    sessionTarget: random.pick(["isolated", "main", "session:agent:main:room"]),
    wakeMode: "now",
    payload: isTurn ? { kind: "agentTurn", message, ...deadline } : { kind: "systemEvent", text: message },
  };
}

/** Sub-agents: a run delegates work to child runs. Our own methods; the model's tools call nothing else. */
import { z } from "zod";
import { method } from "./define.ts";
import { agentId, idempotencyKey, label, nonEmpty, sessionKey } from "./shapes.ts";

export const subagentMethods = {
  "subagents.spawn": method({
    summary: "Start a child run in a session of its own; answers when the child is durable, not when it is done.",
    scope: "operator.write",
    kind: "command",
    params: z.strictObject({
      task: nonEmpty.max(200_000),
      label: label.optional(),
      agentId: agentId.optional(),
      model: nonEmpty.optional(),
      /** 0 is no deadline, absent is the configured default. */
      runTimeoutSeconds: z.number().int().nonnegative().optional(),
      cleanup: z.enum(["keep", "delete"]).optional(),
      /** The session to spawn for. A run spawns for its own and must not name another; an operator names one (default: main). */
      sessionKey: sessionKey.optional(),
      idempotencyKey,
    }),
    result: z.object({
      status: z.literal("accepted"),
      childSessionKey: z.string(),
      runId: z.string(),
      mode: z.literal("run"),
      resolvedModel: z.string(),
      context: z.literal("isolated"),
      scopes: z.array(z.string()),
      depth: z.number().int(),
      note: z.string(),
    }),
  }),
  "subagents.yield": method({
    summary: "End this turn until a child's result is there; the run waits without a slot and keeps its id.",
    scope: "operator.write",
    kind: "command",
    callers: ["run"],
    params: z.strictObject({ message: z.string().optional() }),
    result: z.object({ status: z.literal("yielded"), openChildren: z.number().int() }),
  }),
};

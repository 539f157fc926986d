/** One tool called without a run. */
import { z } from "zod";
import { method } from "./define.ts";
import { agentId, nonEmpty, sessionKey } from "./shapes.ts";

export const toolInvocationMethods = {
  "tools.invoke": method({
    summary: "Call one tool of an agent without a run: one that only looks, and that its tool policy permits.",
    scope: "operator.write",
    kind: "query",
    callers: ["operator"],
    params: () =>
      z.strictObject({
        name: nonEmpty.max(128),
        args: z.record(z.string(), z.unknown()).optional(),
        /** Whose limits hold; absent is the agent's main session. */
        sessionKey: sessionKey.optional(),
        agentId: agentId.optional(),
      }),
    ignored: ["confirm", "idempotencyKey", "conversationReadOrigin"],
    result: () =>
      z.object({
        ok: z.boolean(),
        toolName: z.string(),
        source: z.literal("core"),
        /** What a model would read, and the same for programs. */
        output: z.object({ content: z.array(z.object({ type: z.literal("text"), text: z.string() })), details: z.unknown() }).optional(),
        error: z.object({ code: z.literal("tool_error"), message: z.string() }).optional(),
      }),
  }),
};

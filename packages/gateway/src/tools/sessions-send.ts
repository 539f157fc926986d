/** The tool `sessions_send`: speak to another session's agent. */
import { methods } from "@portreeve/protocol";
import { z } from "zod";
import { toFailedResult, toIdempotencyKey, toToolResult } from "./method-result.ts";
import { defineTool } from "./tool.ts";

const { key } = methods["sessions.send"].params.shape;
const defaultWaitSeconds = 30;

export const sessionsSendTool = defineTool({
  name: "sessions_send",
  description:
    "Send a message to the agent of another session. It reads it as data from you, not from a person. Answers with its reply, `no_reply` " +
    "when it has nothing to say, or `pending` when it is still at work: that it was accepted does not say that it was answered.",
  parameters: z.strictObject({
    sessionKey: key.describe("A key as sessions_list or subagents shows it; for steer also a run id, number (#2), task name or label."),
    message: z.string().min(1).max(32_000),
    mode: z
      .enum(["followup", "steer", "notify", "resume"])
      .optional()
      .describe(
        "followup (default): a turn of its own. steer: into the turn that works, only for what this session delegated. " +
          "notify: starts no turn, its next one reads it first. resume: a new turn for one that has ended, else refused.",
      ),
    timeoutSeconds: z.number().int().min(0).max(60).optional().describe("How long to wait for the reply, 30 when left out; 0: not at all."),
  }),
  repeat: "safe",
  notForChildren: true,
  async execute({ sessionKey, message, mode = "followup", timeoutSeconds = defaultWaitSeconds }, context) {
    const { caller, signal } = context;
    const idempotencyKey = toIdempotencyKey("send", context);
    try {
      if (mode === "steer")
        return toToolResult(await caller.call("subagents.steer", { subagent: sessionKey, message, idempotencyKey }, { signal }));
      const ask = { key: sessionKey, message, mode, waitSeconds: timeoutSeconds, idempotencyKey };
      const sent = await caller.call("sessions.send", ask, { signal });
      return toToolResult(mode === "notify" ? { ...sent, note: "It is read first by that session's next turn; no reply comes." } : sent);
    } catch (error) {
      return toFailedResult(error, signal);
    }
  },
});

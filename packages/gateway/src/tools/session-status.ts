/** The tool `session_status`: facts about a session, from the gateway and not from memory. */
import { methods } from "@portreeve/protocol";
import { z } from "zod";
import { toFailedResult, toToolResult } from "./method-result.ts";
import { defineTool } from "./tool.ts";

export const sessionStatusTool = defineTool({
  name: "session_status",
  description:
    "Facts about this session, or another of this conversation's tree: its model, how large the context is, tokens, sub-agents, " +
    "and what works and waits in it.",
  parameters: z.strictObject({
    sessionKey: methods["sessions.status"].params.shape.key.describe("A key as sessions_list shows it; this session when left out."),
  }),
  repeat: "safe",
  withoutRun: true,
  notForChildren: true,
  async execute({ sessionKey }, context) {
    try {
      const ask = { key: sessionKey ?? context.sessionKey };
      const { session, ...facts } = await context.caller.call("sessions.status", ask, { signal: context.signal });
      const { key, agentId, label, modelProvider, model, spawnDepth, createdAt, updatedAt } = session;
      return toToolResult({ key, agentId, label, model: `${modelProvider}/${model}`, depth: spawnDepth, createdAt, updatedAt, ...facts });
    } catch (error) {
      return toFailedResult(error, context.signal);
    }
  },
});

/** The tool `subagents`: what became of the sub-agents of this session. */
import type { SessionRow } from "@portreeve/protocol";
import { z } from "zod";
import { toFailedResult, toToolResult } from "./method-result.ts";
import { defineTool } from "./tool.ts";

/** The largest number of running children a session may have. */
const maxChildren = 100;

export const subagentsTool = defineTool({
  name: "subagents",
  description:
    "List the sub-agents of this session, newest first, and how each stands. Their results come by themselves: do not poll with this.",
  parameters: z.strictObject({ action: z.enum(["list"]) }),
  repeat: "safe",
  notForLeaves: true,
  async execute(_params, context) {
    try {
      const { sessions, totalCount } = await context.caller.call(
        "sessions.list",
        { spawnedBy: context.sessionKey, limit: maxChildren },
        { signal: context.signal },
      );
      return toToolResult({ total: totalCount, subagents: sessions.map(toChild) });
    } catch (error) {
      return toFailedResult(error, context.signal);
    }
  },
});

type ChildRow = Pick<SessionRow, "key" | "label" | "status" | "startedAt" | "endedAt">;

function toChild({ key, label, status, startedAt, endedAt }: SessionRow): ChildRow {
  return { key, label, status, startedAt, endedAt };
}

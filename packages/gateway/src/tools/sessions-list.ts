/** The tool `sessions_list`: the sessions this run may see. */
import type { SessionRow } from "@portreeve/protocol";
import { z } from "zod";
import { toFailedResult, toToolResult } from "./method-result.ts";
import { defineTool } from "./tool.ts";

const defaultLimit = 50;

export const sessionsListTool = defineTool({
  name: "sessions_list",
  description: "List the sessions of this conversation's tree (this session, its sub-agents and theirs), newest first.",
  parameters: z.strictObject({
    limit: z.number().int().min(1).max(200).optional(),
    offset: z.number().int().min(0).max(1_000_000).optional().describe("How many to pass over: nextOffset of the answer before."),
    search: z.string().min(1).max(200).optional().describe("Only sessions whose key or label holds this."),
  }),
  repeat: "safe",
  withoutRun: true,
  notForLeaves: true,
  async execute({ limit = defaultLimit, ...rest }, context) {
    try {
      const { sessions, totalCount, nextOffset } = await context.caller.call(
        "sessions.list",
        { limit, ...rest },
        { signal: context.signal },
      );
      return toToolResult({ total: totalCount, nextOffset, sessions: sessions.map(toShown) });
    } catch (error) {
      return toFailedResult(error, context.signal);
    }
  },
});

type ShownRow = Pick<SessionRow, "key" | "agentId" | "label" | "spawnedBy" | "updatedAt"> & { readonly status: SessionRow["runStatus"] };

function toShown({ key, agentId, label, runStatus: status, spawnedBy, updatedAt }: SessionRow): ShownRow {
  return { key, agentId, label, status, spawnedBy, updatedAt };
}

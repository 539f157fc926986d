/** Every tool of the gateway; `policy.ts` says which of them a run gets. */
import { agentsListTool } from "./agents-list.ts";
import { grepTool } from "./grep.ts";
import { lsTool } from "./ls.ts";
import { readTool } from "./read.ts";
import { sessionStatusTool } from "./session-status.ts";
import { sessionsHistoryTool } from "./sessions-history.ts";
import { sessionsListTool } from "./sessions-list.ts";
import { sessionsSendTool } from "./sessions-send.ts";
import { sessionsSpawnTool } from "./sessions-spawn.ts";
import { sessionsYieldTool } from "./sessions-yield.ts";
import { subagentsTool } from "./subagents.ts";
import type { Tool } from "./tool.ts";

export function createTools(): readonly Tool[] {
  return [
    readTool,
    lsTool,
    grepTool,
    sessionsSpawnTool,
    sessionsYieldTool,
    subagentsTool,
    sessionsListTool,
    sessionsHistoryTool,
    sessionStatusTool,
    agentsListTool,
    sessionsSendTool,
  ];
}

/** The tool `sessions_yield`: end the turn until a sub-agent's result is there. */
import { methods, ProtocolError } from "@portreeve/protocol";
import { toFailedResult, toToolResult } from "./method-result.ts";
import { defineTool } from "./tool.ts";

export const sessionsYieldTool = defineTool({
  name: "sessions_yield",
  description:
    "End this turn and wait for the results of your sub-agents; they come as your next message. " +
    "Call it by itself, once you have nothing else to do.",
  parameters: methods["subagents.yield"].params,
  repeat: "safe",
  notForLeaves: true,
  async execute(params, context) {
    try {
      return { ...toToolResult(await context.caller.call("subagents.yield", params, { signal: context.signal })), parks: true };
    } catch (error) {
      return toFailedResult(withWayOn(error), context.signal);
    }
  },
});

/** Nothing to wait for is no trouble, only a model that does not know: it is told to go on. */
function withWayOn(error: unknown): unknown {
  if (!(error instanceof ProtocolError) || error.code !== "NO_OPEN_CHILDREN") return error;
  const remedy = "Go on with your turn: every result is in this conversation already, or nothing was spawned.";
  return new ProtocolError(error.code, error.message, { remedy, cause: error });
}

/** The tool `agents_list`: whom work can be given to. */
import { methods } from "@portreeve/protocol";
import { toFailedResult, toToolResult } from "./method-result.ts";
import { defineTool } from "./tool.ts";

export const agentsListTool = defineTool({
  name: "agents_list",
  description: "List the agents that sessions_spawn takes as agentId, and the model each would use.",
  parameters: methods["agents.list"].params,
  repeat: "safe",
  withoutRun: true,
  notForChildren: true,
  async execute(params, context) {
    try {
      const { defaultId, agents } = await context.caller.call("agents.list", params, { signal: context.signal });
      return toToolResult({
        own: context.agentId,
        default: defaultId,
        agents: agents.map(({ id, model }) => ({ id, model: model.primary })),
      });
    } catch (error) {
      return toFailedResult(error, context.signal);
    }
  },
});

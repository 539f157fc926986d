/** The tool `subagents`: see, wait for and stop what this session delegated. */
import { methods, type Result } from "@portreeve/protocol";
import { z } from "zod";
import { toFailedResult, toIdempotencyKey, toToolResult } from "./method-result.ts";
import { defineTool, type ToolContext, type ToolResult } from "./tool.ts";

const { depth } = methods["subagents.list"].params.shape;
const { subagents, timeoutSeconds } = methods["subagents.wait"].params.shape;
const { subagent } = methods["subagents.cancel"].params.shape;
const { message } = methods["subagents.steer"].params.shape;

/** One flat object: providers take no unions at the top of a schema. */
const parameters = z.strictObject({
  action: z.enum(["list", "wait", "cancel", "steer"]),
  depth: depth.describe("list: `all` shows also what your sub-agents delegated."),
  subagents: subagents.optional().describe("wait: run ids, session keys, numbers (#2), task names or labels, 1 to 32."),
  timeoutSeconds: timeoutSeconds.describe("wait: 0 to 60, 30 when left out."),
  message: message.optional().describe("steer: what it reads before its next step; at most 4,000 characters."),
  subagent: subagent.optional().describe("cancel, steer: a run id, session key, number (#2), task name or label."),
});
type Args = z.output<typeof parameters>;

/** What each action takes beside `action`; those in the second list it needs. */
const takes: Readonly<Record<Args["action"], readonly [may: readonly (keyof Args)[], needs: readonly (keyof Args)[]]>> = {
  list: [["depth"], []],
  wait: [["timeoutSeconds"], ["subagents"]],
  cancel: [[], ["subagent"]],
  steer: [[], ["subagent", "message"]],
};

export const subagentsTool = defineTool({
  name: "subagents",
  description:
    "See, wait for, stop or steer the sub-agents of this session and what they delegated. Their results come to you by themselves: do not " +
    "poll; `wait` only waits and takes no result away. `cancel` stops one with everything below it; `steer` tells one something while it works.",
  parameters,
  repeat: "safe",
  notForLeaves: true,
  async execute(args, context) {
    const mistake = findMistake(args);
    if (mistake !== undefined) return { text: mistake, isError: true };
    try {
      return await act(args, context);
    } catch (error) {
      return toFailedResult(error, context.signal);
    }
  },
});

async function act(args: Args, context: ToolContext): Promise<ToolResult> {
  const { caller, signal } = context;
  switch (args.action) {
    case "list": {
      const result = await caller.call("subagents.list", args.depth === undefined ? {} : { depth: args.depth }, { signal });
      return toToolResult({ subagents: result.subagents.map(toShown) });
    }
    case "wait": {
      const ask = {
        subagents: args.subagents ?? [],
        ...(args.timeoutSeconds === undefined ? {} : { timeoutSeconds: args.timeoutSeconds }),
      };
      return toToolResult(withNote(await caller.call("subagents.wait", ask, { signal })));
    }
    case "steer": {
      const { subagent: to = "", message: text = "" } = args;
      const ask = { subagent: to, message: text, idempotencyKey: toIdempotencyKey("steer", context) };
      return toToolResult(await caller.call("subagents.steer", ask, { signal }));
    }
    case "cancel":
      return toToolResult(await caller.call("subagents.cancel", { subagent: args.subagent ?? "" }, { signal }));
  }
}

function findMistake(args: Args): string | undefined {
  const [may, needs] = takes[args.action];
  const given = (Object.keys(args) as (keyof Args)[]).filter((name) => name !== "action" && args[name] !== undefined); // Object.keys forgets.
  const missing = needs.filter((name) => !given.includes(name));
  const extra = given.filter((name) => !may.includes(name) && !needs.includes(name));
  if (missing.length === 0 && extra.length === 0) return undefined;
  const faults = [...missing.map((name) => `${name} is missing`), ...extra.map((name) => `${name} does not belong to it`)];
  return `The arguments of subagents do not fit the action ${args.action}: ${faults.join("; ")}.`;
}

function withNote(result: Result<"subagents.wait">): object {
  if (result.status === "ended")
    return { ...result, note: "Their results come to you as a message when your turn ends, or after sessions_yield." };
  return { ...result, note: "Not all have ended. Call sessions_yield to wait without holding your turn." };
}

type Listed = Result<"subagents.list">["subagents"][number];
type Shown = Pick<Listed, "runId" | "number" | "taskName" | "label" | "status" | "startedAt" | "endedAt"> & {
  readonly childSessionKey: string;
  readonly result: Listed["delivery"]["status"];
};

function toShown({ runId, number, sessionKey, taskName, label, status, startedAt, endedAt, delivery }: Listed): Shown {
  return { runId, number, childSessionKey: sessionKey, taskName, label, status, startedAt, endedAt, result: delivery.status };
}

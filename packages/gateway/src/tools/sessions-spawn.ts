/** The tool `sessions_spawn`: start a sub-agent that works in a session of its own. */
import { deliveryAddresses, methods } from "@portreeve/protocol";
import { z } from "zod";
import { redactAttachments } from "../kit/attachments.ts";
import { toFailedResult, toIdempotencyKey, toToolResult } from "./method-result.ts";
import { defineTool } from "./tool.ts";

const {
  task,
  label,
  taskName,
  agentId,
  model,
  thinking,
  runTimeoutSeconds,
  mode,
  context,
  sandbox,
  cleanup,
  tools,
  budget,
  attachments,
  expectsCompletionMessage,
  outputSchema,
} = methods["subagents.spawn"].params.shape;

const parameters = z.strictObject(
  {
    task: task.describe("The whole brief: unless context is fork, the sub-agent sees nothing else of this conversation."),
    label: label.describe("A short title for people."),
    taskName: taskName.describe("A handle for this sub-agent, unique among your running ones."),
    agentId: agentId.describe("The configured agent that does it; this one when left out."),
    model: model.describe("`provider/name`, instead of the agent's model."),
    thinking: thinking.describe("How hard the model thinks; one that cannot is refused."),
    runTimeoutSeconds: runTimeoutSeconds.describe("The deadline; 0 is none."),
    mode: mode.describe("`run` is the only one here: it works once and answers."),
    context: context.describe("`fork`: it begins with a copy of this conversation. `isolated` is the default: it sees the task alone."),
    sandbox: sandbox.describe("`inherit` is the default."),
    tools: tools.describe("Only these of the tools it would have: narrows, never widens. Empty: none."),
    expectsCompletionMessage: expectsCompletionMessage.describe("False: you do not want to be told the result."),
    outputSchema: outputSchema.describe(
      "A JSON Schema for the result (type, properties, required, items, enum, bounds); it then is one JSON value.",
    ),
    budget: budget.describe("The most that it and its own sub-agents may use; `turns` are model calls."),
    attachments: attachments.describe(
      "Files for it to read: plain names, content as text or base64. Give the whole content: what this conversation shows of an earlier call is redacted.",
    ),
    cleanup: cleanup.describe("`delete` removes the sub-agent's session once its result was read; `keep` is the default."),
  },
  { error: (issue) => (issue.code === "unrecognized_keys" ? describeUnknown(issue.keys) : undefined) },
);

export const sessionsSpawnTool = defineTool({
  name: "sessions_spawn",
  description:
    "Give a task to a sub-agent that works in the background in a session of its own. Answers at once with a receipt, " +
    "not with the result: the result comes to you as a message. Do not poll for it; call sessions_yield when you have nothing else to do.",
  parameters,
  repeat: "safe",
  redact: redactAttachments,
  notForLeaves: true,
  async execute(params, run) {
    try {
      const ask = { ...params, idempotencyKey: toIdempotencyKey("spawn", run) };
      const receipt = await run.caller.call("subagents.spawn", ask, { signal: run.signal });
      const { childSessionKey, runId: childRunId, scopes } = receipt;
      return { ...toToolResult(receipt), spawned: { childSessionKey, childRunId, label: params.label, scopes } };
    } catch (error) {
      return toFailedResult(error, run.signal);
    }
  },
});

function describeUnknown(keys: readonly string[]): string {
  const addresses = keys.filter((key) => deliveryAddresses.includes(key));
  if (addresses.length === 0) return `unknown: ${keys.join(", ")}`;
  return (
    `not allowed: ${addresses.join(", ")}. A sub-agent must not choose a delivery address: ` +
    "its result always comes back to this session. Call again without it."
  );
}

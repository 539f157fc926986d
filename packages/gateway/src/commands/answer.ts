/** Answers slash commands: through the public methods, as whoever wrote them, without a model. */
import { type Caller, type ContentBlock, type Message, ProtocolError, type Result, type RunRow } from "@portreeve/protocol";
import { cutText } from "../kit/cut-text.ts";
import { toPlainBlock, toPlainLine } from "../kit/quoted-text.ts";
import { type Command, commandLines, type SubagentsCommand } from "./parse.ts";

export interface CommandContext {
  /** Acts with the authority of the person who wrote the command, and no other. */
  readonly caller: Caller;
  readonly sessionKey: string;
  /** The same for the same command however often it is sent. */
  readonly idempotencyKey: string;
}

/** Characters of one message in a log. */
const logChars = 500;

/** @throws ProtocolError for every refusal of a method, and INVALID_PARAMS for a command that is not written as it must be. */
export async function answerCommand(command: Exclude<Command, { kind: "stop" }>, context: CommandContext): Promise<string> {
  switch (command.kind) {
    case "help":
      return commandLines.map(([usage, about]) => `${usage}: ${about}`).join("\n");
    case "mistake":
      throw new ProtocolError("INVALID_PARAMS", `invalid /subagents command: ${command.problem}`, {
        remedy: `expected one of:\n${subagentUsages()}`,
      });
    case "status":
      return tellStatus(context);
    default:
      return answerSubagents(command, context);
  }
}

async function tellStatus({ caller, sessionKey }: CommandContext): Promise<string> {
  try {
    return showStatus(await caller.call("sessions.status", { key: sessionKey }));
  } catch (error) {
    if (error instanceof ProtocolError && error.code === "UNKNOWN_SESSION") return `Nothing has been said in ${sessionKey} yet.`;
    throw error;
  }
}

async function answerSubagents(command: SubagentsCommand, context: CommandContext): Promise<string> {
  const { caller, sessionKey, idempotencyKey } = context;
  switch (command.kind) {
    case "list":
      return showList((await caller.call("subagents.list", { sessionKey, depth: command.depth })).subagents);
    case "info":
      return showInfo(await caller.call("runs.get", { runId: (await lookUp(context, command.subagent)).runId }));
    case "log": {
      const { childSessionKey } = await lookUp(context, command.subagent);
      const { messages } = await caller.call("chat.history", { sessionKey: childSessionKey, limit: command.limit });
      return showLog(messages, command.withTools);
    }
    case "send": {
      const { childSessionKey: key } = await lookUp(context, command.subagent);
      const { runId } = await caller.call("sessions.send", { key, message: command.text, idempotencyKey });
      return `Sent to ${key} as run ${runId}: it gets a turn of its own.`;
    }
    case "steer": {
      const { subagent, runId } = await caller.call("subagents.steer", {
        sessionKey,
        subagent: command.subagent,
        message: command.text,
        idempotencyKey,
      });
      return `Sent to ${nameOf(subagent)} as run ${runId}: it reads it before its next step.`;
    }
    case "kill":
      return kill(context, command.subagent);
    case "spawn": {
      const { agentId, task, model, thinking } = command;
      const options = { ...(model === undefined ? {} : { model }), ...(thinking === undefined ? {} : { thinking }) };
      const receipt = await caller.call("subagents.spawn", { sessionKey, agentId, task, ...options, idempotencyKey });
      return `Started ${receipt.runId} with ${receipt.resolvedModel}. Its result comes to this session by itself.`;
    }
  }
}

type Asked = Result<"subagents.wait">["subagents"][number];

/** The one sub-agent of the session that a handle means, as the methods resolve it. */
async function lookUp({ caller, sessionKey }: CommandContext, subagent: string): Promise<Asked> {
  const { subagents } = await caller.call("subagents.wait", { sessionKey, subagents: [subagent], timeoutSeconds: 0 });
  const [found] = subagents;
  if (found === undefined) throw new ProtocolError("UNKNOWN_SUBAGENT", `no sub-agent is called ${JSON.stringify(subagent)}`);
  return found;
}

async function kill({ caller, sessionKey }: CommandContext, subagent: string): Promise<string> {
  if (subagent !== "all") {
    const { subagent: asked, cancelledRunIds } = await caller.call("subagents.cancel", { sessionKey, subagent });
    return cancelledRunIds.length === 0
      ? `${nameOf(asked)} has ended already: ${asked.status}.`
      : `Stopped ${countRuns(cancelledRunIds.length)}.`;
  }
  const { cancelledRunIds } = await caller.call("subagents.cancelAll", { sessionKey });
  return cancelledRunIds.length === 0 ? "No sub-agent is at work." : `Stopped ${countRuns(cancelledRunIds.length)}.`;
}

function showStatus({ session, usage, contextTokens, children, queue }: Result<"sessions.status">): string {
  const lines = [
    `Session ${session.key}, model ${session.modelProvider}/${session.model}`,
    `Tokens ${usage.totalTokens} (${usage.input} in, ${usage.output} out)${contextTokens === undefined ? "" : `, context ${contextTokens}`}`,
    `Sub-agents ${children.total}, ${children.open} of them at work`,
    queue.length === 0 ? "Nothing works or waits here." : `Open runs: ${queue.map(({ runId, status }) => `${runId} ${status}`).join(", ")}`,
  ];
  return lines.join("\n");
}

function showList(runs: Result<"subagents.list">["subagents"]): string {
  if (runs.length === 0) return "This session has no sub-agent.";
  return runs
    .map(
      (run) =>
        `${run.number === undefined ? "" : `#${run.number} `}${run.runId} ${nameOf(run)}: ${run.status}, result ${run.delivery.status}, ${run.usage.totalTokens} tokens`,
    )
    .join("\n");
}

function showInfo({ run, result, attempts, deliveries }: Result<"runs.get">): string {
  const lines = [
    `${run.runId} ${nameOf(run)}: ${run.status}`,
    `Asked by ${run.startedBy}, model ${run.model}, depth ${run.depth}, may use ${run.scopes.join(", ") || "no scope"}`,
    `Attempts ${attempts.claims}, model calls ${attempts.modelCalls}, tool calls ${attempts.toolCalls}, tokens ${run.usage.totalTokens}`,
    `Result ${run.delivery.status}${deliveries.length > 1 ? `, delivered ${deliveries.length} times` : ""}`,
    ...(run.error === undefined ? [] : [`Error ${toPlainBlock(run.error)}`]),
    ...(result === undefined || result === "" ? [] : [`Said ${cut(result)}`]),
  ];
  return lines.join("\n");
}

function showLog(messages: readonly Message[], withTools: boolean): string {
  const lines = messages.flatMap(({ role, content }) =>
    content.flatMap((block) => {
      const text = toLine(block, withTools);
      return text === undefined ? [] : [`${role}: ${text}`];
    }),
  );
  return lines.length === 0 ? "Nothing was said there." : lines.join("\n");
}

function toLine(block: ContentBlock, withTools: boolean): string | undefined {
  switch (block.type) {
    case "text":
      return cut(block.text);
    case "toolCall":
      return withTools ? `calls ${toPlainLine(block.name)} ${cut(JSON.stringify(block.arguments))}` : undefined;
    case "toolResult":
      return withTools ? `${toPlainLine(block.toolName)} ${block.isError ? "failed" : "answered"} ${cut(block.text)}` : undefined;
  }
}

function nameOf({ taskName, label, runId }: Pick<RunRow, "taskName" | "label" | "runId">): string {
  return toPlainLine(taskName ?? label ?? runId);
}

function cut(text: string): string {
  return toPlainBlock(text.length <= logChars ? text : `${cutText(text, 0, logChars)}…`);
}

function countRuns(count: number): string {
  return `${count} run${count === 1 ? "" : "s"}`;
}

function subagentUsages(): string {
  return commandLines.flatMap(([usage]) => (usage.startsWith("/subagents") ? [usage] : [])).join("\n");
}

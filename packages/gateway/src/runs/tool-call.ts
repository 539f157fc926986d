/** One call of a tool, from what the model asked to a result it can read. */
import { type Caller, type ContentBlock, ProtocolError } from "@portreeve/protocol";
import type { Clock } from "../kit/clock.ts";
import type { ToolCall } from "../models/model.ts";
import type { JournalEntry } from "../store/journal.ts";
import type { Tool, ToolContext, ToolResult } from "../tools/tool.ts";

/** How long whoever stops a run waits for its tools to let go. */
export const stopPatienceMs = 3_000;

export interface ToolCallInput {
  /** Undefined: the run has none of that name. */
  readonly tool: Tool | undefined;
  readonly call: ToolCall;
  /** Its arguments as they came, where `call` has what may be written down of them. */
  readonly args: unknown;
  /** It began before a crash. */
  readonly hasBegun: boolean;
  readonly context: ToolContext & { readonly caller: Caller };
  /** Writes down that the call begins: what may not run twice does not start before. */
  readonly intend: () => Promise<void>;
  /** Something the tool should have told the model as a result; answers the id under which it was logged. */
  readonly failed: (error: unknown) => string;
  readonly clock: Clock;
  /** The run was stopped and the tool goes on all the same: nobody waits for it any more. */
  readonly abandoned: () => void;
}

/** @throws the reason of the context's signal, soon after it aborts whatever the tool does; and whatever `intend` throws. */
export async function runToolCall(input: ToolCallInput): Promise<ToolResult> {
  const { tool, call, args, hasBegun, context, intend, failed } = input;
  if (tool === undefined) return notAvailable(call.name);
  if (tool.repeat === "ask") {
    if (hasBegun) return unknownEffect(call);
    await intend();
  }
  try {
    const answer = await answerOf(tool.execute(args, context), input.clock, context.signal);
    if (answer !== "none") return answer;
    input.abandoned();
    throw context.signal.reason;
  } catch (error) {
    context.signal.throwIfAborted();
    if (error instanceof ProtocolError) return { text: `The tool ${tool.name} failed: ${error.code}: ${error.message}`, isError: true };
    return { text: `The tool ${tool.name} failed unexpectedly (error ${failed(error)}).`, isError: true };
  }
}

/** The result in the journal, and in the transcript. */
export function toResult(
  { id: toolCallId, name }: ToolCall,
  { text, isError = false, parks = false }: ToolResult,
): { readonly entry: JournalEntry; readonly content: ContentBlock[] } {
  return {
    entry: { kind: "tool-result", toolCallId, name, text, isError, parks },
    content: [{ type: "toolResult", toolCallId, toolName: name, text, isError }],
  };
}

/** `none`: the signal has aborted, and the work was waited for long enough. How it ends then is nobody's any more. */
async function answerOf<T>(work: Promise<T>, clock: Clock, signal: AbortSignal): Promise<T | "none"> {
  const { promise: tooLong, resolve } = Promise.withResolvers<"none">();
  let timer: Disposable | undefined;
  const lose = (): void => void (timer = clock.schedule(clock.now() + stopPatienceMs, () => resolve("none")));
  if (signal.aborted) lose();
  else signal.addEventListener("abort", lose, { once: true });
  try {
    return await Promise.race([work, tooLong]);
  } finally {
    signal.removeEventListener("abort", lose);
    timer?.[Symbol.dispose]();
  }
}

function notAvailable(name: string): ToolResult {
  return { text: `There is no tool ${JSON.stringify(name)} for this run.`, isError: true };
}

function unknownEffect(call: ToolCall): ToolResult {
  const text = `The gateway stopped while ${call.name} was running with ${JSON.stringify(call.arguments)}. Whether it had its effect is unknown: check before you repeat it.`;
  return { text, isError: true };
}

/** One call of a tool, from what the model asked to a result it can read. */
import { type Caller, type ContentBlock, ProtocolError } from "@portreeve/protocol";
import type { ToolCall } from "../models/model.ts";
import type { JournalEntry } from "../store/journal.ts";
import type { Tool, ToolContext, ToolResult } from "../tools/tool.ts";

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
}

/** @throws the reason of the context's signal, and whatever `intend` throws. */
export async function runToolCall({ tool, call, args, hasBegun, context, intend, failed }: ToolCallInput): Promise<ToolResult> {
  if (tool === undefined) return notAvailable(call.name);
  if (tool.repeat === "ask") {
    if (hasBegun) return unknownEffect(call);
    await intend();
  }
  try {
    return await tool.execute(args, context);
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

function notAvailable(name: string): ToolResult {
  return { text: `There is no tool ${JSON.stringify(name)} for this run.`, isError: true };
}

function unknownEffect(call: ToolCall): ToolResult {
  const text = `The gateway stopped while ${call.name} was running with ${JSON.stringify(call.arguments)}. Whether it had its effect is unknown: check before you repeat it.`;
  return { text, isError: true };
}

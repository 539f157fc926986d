/** What happens in a session, as an editor is told: live events of a run, and the messages of before. Pure. */
import type { SessionUpdate, ToolCallContent, ToolKind } from "@agentclientprotocol/sdk";
import type { EventPayload, Result } from "@portreeve/protocol/wire";

type ToolEvent = Extract<EventPayload<"agent">, { stream: "tool" }>;
type Message = Result<"chat.history">["messages"][number];

export function said(by: "agent" | "user", text: string): SessionUpdate {
  return { sessionUpdate: by === "agent" ? "agent_message_chunk" : "user_message_chunk", content: { type: "text", text } };
}

/** Ids of tool calls come from models, which may give one twice: `scope` keeps those of different runs apart. */
export function toToolUpdate({ data }: ToolEvent, scope: string): SessionUpdate {
  const toolCallId = `${scope}/${data.toolCallId}`;
  if (data.phase === "start") return toolCall(toolCallId, { name: data.name, args: data.args, status: "in_progress" });
  const { result: rawOutput, isError } = data;
  const content = typeof rawOutput === "string" ? toContent(rawOutput) : toContent(JSON.stringify(rawOutput, undefined, 2) ?? "");
  return { sessionUpdate: "tool_call_update", toolCallId, status: isError ? "failed" : "completed", rawOutput, content };
}

/** The messages of a session, oldest first. */
export function replay(messages: readonly Message[]): readonly SessionUpdate[] {
  // The messages of one turn hold the calls and their results apart: a call that was given twice gets two ids.
  const scopes = new Map<string, string>();
  return messages.flatMap((message) => {
    if (message.silence !== undefined) return [];
    return message.content.flatMap((block): readonly SessionUpdate[] => {
      switch (block.type) {
        case "text":
          return block.text === "" ? [] : [said(message.role === "user" ? "user" : "agent", block.text)];
        case "toolCall":
          scopes.set(block.id, message.__openclaw.id);
          return [toolCall(`${message.__openclaw.id}/${block.id}`, { name: block.name, args: block.arguments, status: "pending" })];
        case "toolResult": {
          const toolCallId = `${scopes.get(block.toolCallId) ?? message.__openclaw.id}/${block.toolCallId}`;
          const status = block.isError ? "failed" : "completed";
          return [{ sessionUpdate: "tool_call_update", toolCallId, status, content: toContent(block.text) }];
        }
      }
    });
  });
}

function toolCall(
  toolCallId: string,
  { name, args, status }: { readonly name: string; readonly args: unknown; readonly status: "pending" | "in_progress" },
): SessionUpdate {
  return { sessionUpdate: "tool_call", toolCallId, title: toTitle(name, args), kind: kinds.get(name) ?? "other", status, rawInput: args };
}

const kinds: ReadonlyMap<string, ToolKind> = new Map<string, ToolKind>([
  ["read", "read"],
  ["ls", "read"],
  ["grep", "search"],
  ["exec", "execute"],
  ["write", "edit"],
  ["edit", "edit"],
]);

/** The tool, and what says most of what it is called with. */
function toTitle(name: string, args: unknown): string {
  const named = Object.entries(typeof args === "object" && args !== null ? args : {});
  const [, what] = named.find(([key, value]) => titleKeys.includes(key) && typeof value === "string") ?? [];
  return typeof what === "string" ? `${name} ${what.replace(/\s+/g, " ").slice(0, 80)}` : name;
}

const titleKeys = ["path", "pattern", "command", "label", "task", "sessionKey"];

function toContent(text: string): ToolCallContent[] {
  return [{ type: "content", content: { type: "text", text } }];
}

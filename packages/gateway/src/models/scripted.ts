/** The built-in model: offline and deterministic. It takes the steps of an `@script` line (script.ts) and thinks nothing. */
import type { ThinkingLevel } from "@portreeve/protocol";
import { ModelError, type Model, type ModelEvent, type ModelRequest } from "./model.ts";
import { readSummaryRequest } from "./summary-text.ts";
import { completionsIn, cut, footer, listCompletions, nextAction, textOf, type Action } from "./script.ts";

/** The model `scripted/scripted`. The same conversation always gets the same reply, call ids and usage included. */
export function createScriptedModel(): Model {
  const problemWithThinking = (level: ThinkingLevel): Promise<string | undefined> =>
    Promise.resolve(level === "off" ? undefined : "the built-in model does not think");
  return { provider: "scripted", name: "scripted", stream: streamReply, problemWithThinking };
}

const nothing = { role: "user", content: [] } as const;

async function* streamReply(request: ModelRequest): AsyncGenerator<ModelEvent> {
  const action = nextAction(request.messages) ?? { kind: "say", text: replyWithoutScript(request) };
  if (action.kind === "fail")
    throw new ModelError(action.errorKind, `the script asked for a failure of kind ${action.errorKind}`, { retryable: action.retryable });
  const asked = request.messages.length === 1 ? readSummaryRequest(textOf(request.messages[0] ?? nothing)) : undefined;
  const text = asked === undefined ? textOfReply(action) : `${asked} messages, which the built-in model does not understand.`;
  // By words, so that whoever watches sees it stream.
  for (const delta of text.match(/(?:^\s*)?\S+\s*/g) ?? []) {
    if (request.signal.aborted) throw aborted();
    yield { type: "text", delta };
  }
  if (action.kind === "hang") return await abortOf(request.signal);
  const calls = action.kind === "call" ? action.calls : [];
  for (const call of calls) yield { type: "tool-call", call };
  const input =
    countWords(request.system) + request.messages.reduce((sum, message) => sum + countWords(JSON.stringify(message.content)), 0);
  const output = countWords(text) + countWords(JSON.stringify(calls));
  yield { type: "finish", reason: action.kind === "call" ? "tool-calls" : "stop", usage: { input, output, totalTokens: input + output } };
}

function textOfReply(action: Exclude<Action, { kind: "fail" }>): string {
  if (action.kind === "hang") return "Waiting";
  return action.kind === "call" ? action.text : `${action.text}\n\n${footer}`;
}

function replyWithoutScript({ messages }: ModelRequest): string {
  const last = messages.findLast((message) => message.role === "user");
  const completions = last === undefined ? [] : completionsIn(last);
  if (completions.length > 0) return `Results of sub-agents:\n\n${listCompletions(completions)}`;
  return [
    `You said: ${cut(last === undefined ? "" : textOf(last), 500)}`,
    "I am the built-in model: I do not think, I take steps. To drive tools and sub-agents, send a line such as",
    '@script [{"call":[{"tool":"ls","args":{}}]},{"say":"There are {{lines:1}} entries."}]',
  ].join("\n\n");
}

/** Rejects when the signal aborts, and never resolves. */
function abortOf(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    if (signal.aborted) return reject(aborted());
    signal.addEventListener("abort", () => reject(aborted()), { once: true });
  });
}

function aborted(): ModelError {
  return new ModelError("aborted", "the call was stopped");
}

/** A word counts as a token. */
function countWords(text: string): number {
  return text.match(/\S+/g)?.length ?? 0;
}

/** `POST /v1/chat/completions`: one run of an agent, answered whole or as it speaks, as OpenAI's clients know it. */
import type { Result } from "@portreeve/protocol";
import { parseBody } from "./body.ts";
import { chatShape, readMessages } from "./chat-request.ts";
import type { ServerEvent } from "./event-stream.ts";
import { answerOf, type FollowedRun } from "./followed-run.ts";
import { assertAnswered, countTokens, saidIgnored, saidSession, toOpenAiError } from "./openai-answer.ts";
import { findMeant, nameForOne } from "./openai-session.ts";
import { toPrompt } from "./prompt.ts";
import type { RunRouteHandler } from "./route-handler.ts";

export const chatCompletions: RunRouteHandler = async (ask, door) => {
  const { value: body, ignored } = parseBody(ask.body, chatShape);
  const uuid = door.newId();
  const { isNamed, ...meant } = findMeant(body, ask.headers, nameForOne(uuid, ask.repeatKey));
  const run = await door.startRun({
    ...meant,
    message: toPrompt(readMessages(body), { isNamed, param: "messages" }),
    idempotencyKey: ask.repeatKey ?? `chatcmpl_${uuid}`,
  });
  const head = { id: `chatcmpl_${uuid}`, created: Math.floor(door.nowMs / 1_000), model: body.model };
  const headers = { ...saidIgnored(ignored), ...saidSession(run.accepted.sessionKey) };
  if (body.stream === true) {
    const events = toEvents(run, head, body.stream_options?.include_usage === true);
    return { events, headers, toFailure: (error) => toEvent({ error: toOpenAiError(error) }) };
  }
  return { status: 200, headers, body: toCompletion(await run.result, head) };
};

interface Head {
  readonly id: string;
  readonly created: number;
  readonly model: string;
}

function toCompletion(result: Result<"agent">, head: Head): object {
  assertAnswered(result);
  const message = { role: "assistant", content: answerOf(result), refusal: null };
  const choice = { index: 0, message, logprobs: null, finish_reason: toFinishReason(result) };
  return { ...head, object: "chat.completion", choices: [choice], usage: toUsage(result) };
}

async function* toEvents(run: FollowedRun, head: Head, withUsage: boolean): AsyncGenerator<ServerEvent> {
  const chunk = (choices: readonly object[], usage: object | null = null): ServerEvent =>
    toEvent({ ...head, object: "chat.completion.chunk", choices, ...(withUsage ? { usage } : {}) });
  const choice = (delta: object, finishReason: string | null = null): readonly object[] => [
    { index: 0, delta, logprobs: null, finish_reason: finishReason },
  ];
  yield chunk(choice({ role: "assistant", content: "", refusal: null }));
  for await (const content of run.texts()) yield chunk(choice({ content }));
  const result = await run.result;
  assertAnswered(result);
  yield chunk(choice({}, toFinishReason(result)));
  if (withUsage) yield chunk([], toUsage(result));
  yield { data: "[DONE]" };
}

function toEvent(value: object): ServerEvent {
  return { data: JSON.stringify(value) };
}

function toFinishReason({ result }: Result<"agent">): "stop" | "length" {
  return result.meta.stopReason === "length" ? "length" : "stop";
}

function toUsage({ result }: Result<"agent">): object {
  const { prompt, cached, completion, total } = countTokens(result.meta.agentMeta.usage);
  const details = { prompt_tokens_details: { cached_tokens: cached } };
  return { prompt_tokens: prompt, completion_tokens: completion, total_tokens: total, ...details };
}

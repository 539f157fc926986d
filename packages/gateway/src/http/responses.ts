/** `POST /v1/responses`: one run of an agent, answered whole or as it speaks, as clients of OpenAI's newer API know it. */
import type { ProtocolError, Result } from "@portreeve/protocol";
import { parseBody } from "./body.ts";
import type { ServerEvent } from "./event-stream.ts";
import { answerOf, type FollowedRun } from "./followed-run.ts";
import { assertAnswered, countTokens, saidIgnored, saidSession } from "./openai-answer.ts";
import { findMeant, nameForOne } from "./openai-session.ts";
import { toPrompt } from "./prompt.ts";
import { readInput, responsesShape } from "./responses-request.ts";
import type { RunRouteHandler } from "./route-handler.ts";

export const responses: RunRouteHandler = async (ask, door) => {
  const { value: body, ignored } = parseBody(ask.body, responsesShape);
  const uuid = door.newId();
  const { isNamed, ...meant } = findMeant(body, ask.headers, nameForOne(uuid, ask.repeatKey));
  const message = toPrompt(readInput(body), { isNamed, param: "input" });
  const run = await door.startRun({ ...meant, message, idempotencyKey: ask.repeatKey ?? `resp_${uuid}` });
  const shape = new ResponseShape({
    id: `resp_${uuid}`,
    messageId: `msg_${uuid}`,
    createdAt: Math.floor(door.nowMs / 1_000),
    model: body.model,
    instructions: body.instructions ?? null,
  });
  const headers = { ...saidIgnored(ignored), ...saidSession(run.accepted.sessionKey) };
  if (body.stream === true) return { events: toEvents(run, shape), headers, toFailure: (error) => shape.failed(error) };
  const result = await run.result;
  assertAnswered(result);
  return { status: 200, headers, body: shape.completed(answerOf(result), result) };
};

interface Head {
  readonly id: string;
  readonly messageId: string;
  readonly createdAt: number;
  readonly model: string;
  readonly instructions: string | null;
}

async function* toEvents(run: FollowedRun, shape: ResponseShape): AsyncGenerator<ServerEvent> {
  const at = { item_id: shape.messageId, output_index: 0, content_index: 0 };
  yield shape.event("response.created", { response: shape.inProgress() });
  yield shape.event("response.in_progress", { response: shape.inProgress() });
  yield shape.event("response.output_item.added", { output_index: 0, item: shape.message("in_progress", []) });
  yield shape.event("response.content_part.added", { ...at, part: toPart("") });
  let text = "";
  for await (const delta of run.texts()) {
    text += delta;
    yield shape.event("response.output_text.delta", { ...at, delta, logprobs: [] });
  }
  const result = await run.result;
  assertAnswered(result);
  yield shape.event("response.output_text.done", { ...at, text, logprobs: [] });
  yield shape.event("response.content_part.done", { ...at, part: toPart(text) });
  yield shape.event("response.output_item.done", { output_index: 0, item: shape.message("completed", [toPart(text)]) });
  yield shape.event("response.completed", { response: shape.completed(text, result) });
  yield { data: "[DONE]" };
}

/** A response as it goes: one message, its events numbered. */
class ResponseShape {
  readonly #head: Head;
  #events = 0;

  constructor(head: Head) {
    this.#head = head;
  }

  get messageId(): string {
    return this.#head.messageId;
  }

  event(type: string, facts: object): ServerEvent {
    const numbered = { type, sequence_number: this.#events, ...facts };
    this.#events += 1;
    return { name: type, data: JSON.stringify(numbered) };
  }

  message(status: "in_progress" | "completed", content: readonly object[]): object {
    return { id: this.#head.messageId, type: "message", status, role: "assistant", content };
  }

  inProgress(): object {
    return this.#response({ status: "in_progress", output: [], usage: null });
  }

  completed(text: string, result: Result<"agent">): object {
    const { prompt, cached, completion, total } = countTokens(result.result.meta.agentMeta.usage);
    const usage = {
      input_tokens: prompt,
      input_tokens_details: { cached_tokens: cached },
      output_tokens: completion,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: total,
    };
    const isCut = result.result.meta.stopReason === "length";
    const ending = isCut ? { status: "incomplete", incomplete_details: { reason: "max_output_tokens" } } : { status: "completed" };
    return this.#response({ ...ending, output: [this.message("completed", [toPart(text)])], usage });
  }

  failed({ code, message }: ProtocolError): ServerEvent {
    const error = { code, message };
    return this.event("response.failed", { response: this.#response({ status: "failed", output: [], usage: null, error }) });
  }

  #response(state: object): object {
    const { id, createdAt, model, instructions } = this.#head;
    return {
      id,
      object: "response",
      created_at: createdAt,
      error: null,
      incomplete_details: null,
      instructions,
      max_output_tokens: null,
      metadata: {},
      model,
      parallel_tool_calls: false,
      previous_response_id: null,
      temperature: null,
      text: { format: { type: "text" } },
      tool_choice: "none",
      tools: [],
      top_p: null,
      ...state,
    };
  }
}

function toPart(text: string): object {
  return { type: "output_text", text, annotations: [] };
}

/** What every model must do, whatever is behind it: one suite, run by each implementation's test. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ModelError, type Model, type ModelEvent, type ModelMessage, type ModelRequest } from "./model.ts";

/** A model that is about to reply in a known way to the request that comes with it. */
export interface ModelUnderTest extends AsyncDisposable {
  readonly model: Model;
  readonly messages: readonly ModelMessage[];
}

export interface ModelSetups {
  /** Replies with text that begins with "one two three". */
  readonly text: () => Promise<ModelUnderTest>;
  /** Calls the tool `look` twice, with {"at":"a"} and {"at":"b"}. */
  readonly toolCalls: () => Promise<ModelUnderTest>;
  /** Writes a word and then nothing more. */
  readonly hang: () => Promise<ModelUnderTest>;
  /** Fails at once in a way that is worth a retry. */
  readonly failure: () => Promise<ModelUnderTest>;
}

const look = { name: "look", description: "Looks.", parameters: { type: "object", properties: { at: { type: "string" } } } };

/** The request every test of a model starts from. */
export function requestOf(messages: readonly ModelMessage[], more: Partial<ModelRequest> = {}): ModelRequest {
  return { system: "You are a test.", messages, tools: [look], signal: new AbortController().signal, ...more };
}

export function userSays(text: string): ModelMessage {
  return { role: "user", content: [{ type: "text", text }] };
}

export async function readAll(stream: AsyncIterable<ModelEvent>): Promise<readonly ModelEvent[]> {
  // How often a model shows that it is at work is its own affair.
  return (await Array.fromAsync(stream)).filter((event) => event.type !== "progress");
}

export function joinText(events: readonly ModelEvent[]): string {
  return events.map((event) => (event.type === "text" ? event.delta : "")).join("");
}

/** The ModelError that `stream` ends with. */
export async function failureOf(stream: AsyncIterable<ModelEvent>): Promise<ModelError> {
  try {
    const events = await readAll(stream);
    assert.fail(`expected a failure, got ${JSON.stringify(events)}`);
  } catch (error) {
    if (!(error instanceof ModelError)) throw error;
    return error;
  }
}

export function modelContract(name: string, setups: ModelSetups): void {
  testReplies(name, setups);
  testEndings(name, setups);
}

function testReplies(name: string, setups: ModelSetups): void {
  test(`${name}: text streams in pieces and ends with stop and a usage that adds up`, async () => {
    await using ready = await setups.text();

    const events = await readAll(ready.model.stream(requestOf(ready.messages)));

    const last = events.at(-1);
    assert.ok(events.filter((event) => event.type === "text").length >= 3);
    assert.ok(joinText(events).startsWith("one two three"));
    assert.ok(last?.type === "finish" && last.reason === "stop");
    assert.ok(last.usage.input > 0 && last.usage.output > 0);
    assert.equal(last.usage.totalTokens, last.usage.input + last.usage.output);
    assert.equal(events.filter((event) => event.type === "finish").length, 1);
  });

  test(`${name}: tool calls come whole, with parsed arguments and an id each`, async () => {
    await using ready = await setups.toolCalls();

    const events = await readAll(ready.model.stream(requestOf(ready.messages)));

    const calls = events.flatMap((event) => (event.type === "tool-call" ? [event.call] : []));
    const last = events.at(-1);
    assert.deepEqual(
      calls.map(({ name: tool, arguments: args }) => [tool, args]),
      [
        ["look", { at: "a" }],
        ["look", { at: "b" }],
      ],
    );
    assert.equal(new Set(calls.map((call) => call.id)).size, 2);
    assert.ok(last?.type === "finish" && last.reason === "tool-calls");
  });
}

function testEndings(name: string, setups: ModelSetups): void {
  test(`${name}: an abort in the middle ends the call as aborted and not worth a retry`, async () => {
    await using ready = await setups.hang();
    const stop = new AbortController();

    const error = await failureOf(stopAtFirstEvent(ready.model.stream(requestOf(ready.messages, { signal: stop.signal })), stop));

    assert.equal(error.kind, "aborted");
    assert.equal(error.retryable, false);
  });

  test(`${name}: a call that is aborted before it starts does nothing`, async () => {
    await using ready = await setups.text();

    const error = await failureOf(ready.model.stream(requestOf(ready.messages, { signal: AbortSignal.abort() })));

    assert.equal(error.kind, "aborted");
  });

  test(`${name}: a caller may leave in the middle`, async () => {
    await using ready = await setups.hang();

    const iterator = ready.model.stream(requestOf(ready.messages))[Symbol.asyncIterator]();
    const first = await iterator.next();
    const left = await iterator.return?.();

    assert.equal(first.done, false);
    assert.equal(left?.done, true);
  });

  test(`${name}: a failure is a ModelError that says whether to retry`, async () => {
    await using ready = await setups.failure();

    const error = await failureOf(ready.model.stream(requestOf(ready.messages)));

    assert.equal(error.retryable, true);
  });
}

async function* stopAtFirstEvent(stream: AsyncIterable<ModelEvent>, stop: AbortController): AsyncGenerator<ModelEvent> {
  for await (const event of stream) {
    yield event;
    stop.abort();
  }
}

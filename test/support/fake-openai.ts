/**
 * A model provider for tests: a real HTTP server on loopback that streams `/v1/chat/completions` as OpenAI does, and can
 * misbehave in every way a provider does. Any other path is answered too, so that a test can put raw frames of another
 * family on the wire. It knows nothing of who asks: a gateway may be killed and started again beside it.
 */
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";

/** One thing the server does while it answers. */
export type FakeStep =
  | { readonly text: string }
  /** A tool call whose arguments come in pieces. */
  | { readonly toolCall: { readonly id: string; readonly name: string; readonly argumentPieces: readonly string[] } }
  | {
      readonly finish: "stop" | "tool_calls" | "length" | "content_filter";
      readonly usage?: { readonly input: number; readonly output: number; readonly cached?: number };
    }
  /** A frame as it is, for an error in the stream or another family's wire format. */
  | { readonly frame: unknown }
  /** Waits for the promise, or for the client to go. */
  | { readonly hold: Promise<unknown> }
  /** Breaks the connection in the middle of the body. */
  | { readonly cut: true };

export type FakeReply =
  | { readonly steps: readonly FakeStep[] }
  | { readonly status: number; readonly headers?: Readonly<Record<string, string>>; readonly body?: unknown };

export interface FakeRequest {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: ChatBody;
  /** Resolves once the answer is over: `complete`, or `closed` when the connection went first. */
  readonly ended: Promise<"complete" | "closed">;
}

/** The part of a chat completion request that handlers decide by. */
export interface ChatBody {
  readonly model?: string;
  readonly stream?: boolean;
  readonly stream_options?: unknown;
  readonly messages?: readonly ChatMessage[];
  readonly tools?: readonly { readonly function: { readonly name: string; readonly parameters: unknown } }[];
  readonly [key: string]: unknown;
}

export interface ChatMessage {
  readonly role: string;
  readonly content?: string | null;
  readonly tool_calls?: readonly { readonly id: string; readonly function: { readonly name: string; readonly arguments: string } }[];
  readonly tool_call_id?: string;
}

export interface FakeOpenAi extends AsyncDisposable {
  /** What a configuration needs: `http://127.0.0.1:PORT/v1`. */
  readonly baseUrl: string;
  /** Every request so far, oldest first. */
  readonly requests: readonly FakeRequest[];
  /** Answers the next requests, in order, before the handler is asked. */
  enqueue(...replies: readonly FakeReply[]): void;
  /** The `index`-th request (from 0), once it is there. */
  request(index: number): Promise<FakeRequest>;
}

export interface FakeOpenAiInput {
  /** Answers what the queue does not. Without it such a request gets HTTP 400 and says so. */
  readonly handler?: (request: FakeRequest) => FakeReply | Promise<FakeReply>;
}

/** A reply of plain text, a word a chunk. */
export function say(text: string, usage: { input: number; output: number; cached?: number } = { input: 3, output: 2 }): FakeReply {
  const words = text.match(/\s*\S+\s*/g) ?? [];
  return { steps: [...words.map((word) => ({ text: word })), { finish: "stop", usage }] };
}

/** A reply that calls tools; the arguments come in two pieces each. */
export function callTools(...calls: readonly { readonly id: string; readonly name: string; readonly args: unknown }[]): FakeReply {
  const steps = calls.map(({ id, name, args }): FakeStep => {
    const json = JSON.stringify(args);
    const middle = Math.ceil(json.length / 2);
    return { toolCall: { id, name, argumentPieces: [json.slice(0, middle), json.slice(middle)] } };
  });
  return { steps: [...steps, { finish: "tool_calls", usage: { input: 3, output: 2 } }] };
}

/** Starts the server on a free port. */
export async function startFakeOpenAi({ handler }: FakeOpenAiInput = {}): Promise<FakeOpenAi> {
  const requests: FakeRequest[] = [];
  const queue: FakeReply[] = [];
  const waiting = new Map<number, PromiseWithResolvers<FakeRequest>>();

  const answer = async (incoming: IncomingMessage, response: ServerResponse): Promise<void> => {
    const body = await readJson(incoming);
    const ended = Promise.withResolvers<"complete" | "closed">();
    response.once("close", () => ended.resolve(response.writableFinished ? "complete" : "closed"));
    const request: FakeRequest = { path: incoming.url ?? "", headers: incoming.headers, body, ended: ended.promise };
    requests.push(request);
    waiting.get(requests.length - 1)?.resolve(request);
    const reply = queue.shift() ??
      (await handler?.(request)) ?? { status: 400, body: { error: { message: "the fake provider has no reply left" } } };
    await send(reply, response, request);
  };
  const server = createServer((incoming, response) => {
    answer(incoming, response).catch((error: unknown) => response.destroy(error instanceof Error ? error : new Error(String(error))));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the fake provider has no port");
  return {
    baseUrl: `http://127.0.0.1:${address.port}/v1`,
    requests,
    enqueue: (...replies) => void queue.push(...replies),
    request(index) {
      const there = requests[index];
      if (there !== undefined) return Promise.resolve(there);
      const pending = waiting.get(index) ?? Promise.withResolvers<FakeRequest>();
      waiting.set(index, pending);
      return pending.promise;
    },
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

async function readJson(incoming: IncomingMessage): Promise<ChatBody> {
  let text = "";
  for await (const chunk of incoming.setEncoding("utf8")) text += String(chunk);
  return JSON.parse(text) as ChatBody; // What a test reads of it is what it asserts.
}

async function send(reply: FakeReply, response: ServerResponse, request: FakeRequest): Promise<void> {
  if ("status" in reply) {
    response.writeHead(reply.status, { "content-type": "application/json", ...reply.headers });
    response.end(reply.body === undefined ? "" : JSON.stringify(reply.body));
    return;
  }
  response.writeHead(200, { "content-type": "text/event-stream" });
  response.flushHeaders();
  let toolIndex = 0;
  for (const step of reply.steps) {
    if ("hold" in step) await Promise.race([step.hold, request.ended]);
    if (response.destroyed) return;
    if ("cut" in step) return void response.destroy();
    for (const frame of toFrames(step, request.body.model ?? "", toolIndex)) await write(response, frame);
    if ("toolCall" in step) toolIndex += 1;
  }
  response.end(reply.steps.some((step) => "finish" in step) ? "data: [DONE]\n\n" : "");
}

/** Each frame is on its way before the next step, so that a cut comes after what was sent before it. */
function write(response: ServerResponse, frame: unknown): Promise<void> {
  return new Promise((resolve) => response.write(`data: ${JSON.stringify(frame)}\n\n`, () => resolve()));
}

function toFrames(step: FakeStep, model: string, toolIndex: number): readonly unknown[] {
  const chunk = (choice: object, more: object = {}): unknown => ({
    id: "chatcmpl-fake",
    object: "chat.completion.chunk",
    created: 1_700_000_000,
    model,
    choices: [{ index: 0, finish_reason: null, ...choice }],
    ...more,
  });
  if ("frame" in step) return [step.frame];
  if ("text" in step) return [chunk({ delta: { role: "assistant", content: step.text } })];
  if ("toolCall" in step) {
    const { id, name, argumentPieces } = step.toolCall;
    const first = { index: toolIndex, id, type: "function", function: { name, arguments: "" } };
    const pieces = argumentPieces.map((piece) => ({ index: toolIndex, function: { arguments: piece } }));
    return [first, ...pieces].map((call) => chunk({ delta: { tool_calls: [call] } }));
  }
  if (!("finish" in step)) return [];
  const end = chunk({ delta: {}, finish_reason: step.finish });
  if (step.usage === undefined) return [end];
  const { input, output, cached } = step.usage;
  const details = cached === undefined ? {} : { prompt_tokens_details: { cached_tokens: cached } };
  const usage = { prompt_tokens: input, completion_tokens: output, total_tokens: input + output, ...details };
  return [end, { id: "chatcmpl-fake", object: "chat.completion.chunk", created: 1_700_000_000, model, choices: [], usage }];
}

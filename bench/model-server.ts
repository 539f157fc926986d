/**
 * A model that costs nothing: an OpenAI-compatible server in a process of its own that does what the last user message asks
 * (`Directive`) without delay, and tells the process that started it when each request came and ended.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { nowMs } from "./measure.ts";

/** What a message asks of the model: `@bench {…}` in it. */
export interface Directive {
  /** The name under which the request is recorded; the reply is `done:<tag>`. */
  readonly tag: string;
  /** Chunks of text before the reply ends, `gapMs` apart. */
  readonly words?: number;
  readonly gapMs?: number;
  /** Says a word and ends when this name is released. */
  readonly hold?: string;
  /** Calls a tool in every reply until this name is released. */
  readonly loop?: string;
}

export interface ModelRequest {
  /** The directive's; `after:<tag>` when the message carries the result of the child with that tag. */
  readonly tags: readonly string[];
  readonly arrivedAt: number;
  /** Absent when it has only arrived. */
  readonly ended?: { readonly at: number; readonly isWhole: boolean };
}

export type ToModel = { readonly release: string };
export type FromModel = { readonly baseUrl: string } | { readonly requests: readonly ModelRequest[] };

interface Body {
  readonly messages: readonly { readonly role: string; readonly content?: string | readonly { readonly text?: string }[] | null }[];
}

const flushEveryMs = 10;
const gates = new Map<string, PromiseWithResolvers<void>>();
const released = new Set<string>();
let unsent: ModelRequest[] = [];

export function toMessage(directive: Directive): string {
  return `@bench ${JSON.stringify(directive)}`;
}

function readDirective(text: string): Directive | undefined {
  const json = /^@bench (\{.*\})$/m.exec(text)?.[1];
  return json === undefined ? undefined : (JSON.parse(json) as Directive);
}

function gateOf(name: string): PromiseWithResolvers<void> {
  const gate = gates.get(name) ?? Promise.withResolvers<void>();
  gates.set(name, gate);
  return gate;
}

async function answer(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
  const arrivedAt = nowMs();
  let text = "";
  for await (const chunk of incoming.setEncoding("utf8")) text += String(chunk);
  const { messages } = JSON.parse(text) as Body;
  const content = messages.findLast(({ role }) => role === "user")?.content ?? "";
  const asked = typeof content === "string" ? content : content.map((part) => part.text ?? "").join("\n");
  const directive = readDirective(asked);
  const tags = directive === undefined ? [...asked.matchAll(/done:([\w-]+)/g)].map(([, tag]) => `after:${tag}`) : [directive.tag];
  unsent.push({ tags, arrivedAt });
  response.once("close", () => unsent.push({ tags, arrivedAt, ended: { at: nowMs(), isWhole: response.writableFinished } }));
  response.writeHead(200, { "content-type": "text/event-stream" });
  await reply(response, directive ?? { tag: "read" });
}

async function reply(response: ServerResponse, { tag, words = 0, gapMs = 0, hold, loop }: Directive): Promise<void> {
  if (loop !== undefined && !released.has(loop)) {
    const call = { index: 0, id: `call_${crypto.randomUUID()}`, type: "function", function: { name: "ls", arguments: "{}" } };
    return void response.end(toText([choice({ role: "assistant", tool_calls: [call] }), choice({}, "tool_calls")]));
  }
  if (hold !== undefined) {
    response.write(toText([choice({ role: "assistant", content: "Waiting " })]));
    await gateOf(hold).promise;
  }
  for (let word = 0; word < words && !response.destroyed; word += 1) {
    response.write(toText([choice({ role: "assistant", content: `word${word} ` })]));
    await new Promise((resolve) => setTimeout(resolve, gapMs));
  }
  const usage = { choices: [], usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 } };
  response.end(`${toText([choice({ role: "assistant", content: `done:${tag}` }), choice({}, "stop"), usage])}data: [DONE]\n\n`);
}

function choice(delta: object, reason: string | null = null): object {
  return { choices: [{ index: 0, delta, finish_reason: reason }] };
}

function toText(chunks: readonly object[]): string {
  const base = { id: "chatcmpl-bench", object: "chat.completion.chunk", created: 1_700_000_000, model: "zero" };
  return chunks.map((chunk) => `data: ${JSON.stringify({ ...base, ...chunk })}\n\n`).join("");
}

function tell(message: FromModel): void {
  process.send?.(message);
}

if (import.meta.main) {
  process.on("disconnect", () => process.exit());
  process.on("message", ({ release }: ToModel) => {
    released.add(release);
    gateOf(release).resolve();
  });
  const server = createServer((incoming, response) => {
    answer(incoming, response).catch((error: unknown) => {
      console.error(error);
      response.destroy();
    });
  });
  server.keepAliveTimeout = 600_000;
  server.listen(Number(process.argv[2] ?? 0), "127.0.0.1", () => {
    // A listening TCP server has an address of this form.
    tell({ baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1` });
  });
  setInterval(() => {
    if (unsent.length === 0) return;
    tell({ requests: unsent });
    unsent = [];
  }, flushEveryMs);
}

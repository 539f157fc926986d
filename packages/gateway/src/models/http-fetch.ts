/**
 * `fetch` over Node's HTTP client, as far as providers' packages use it: a text goes out, the answer is read as it comes. Nothing is
 * retried, cached, decompressed or followed. Node's own `fetch` takes twice the processor time of a call (decision 018).
 */
import type { IncomingMessage } from "node:http";
import { request, requestSecurely } from "../kit/node-http.ts";
import { EventBound, mostOfEvent } from "./event-bound.ts";
import { ModelError } from "./model.ts";

/** Of pieces that nobody has read yet, beyond which the provider has to wait. */
const mostUnread = 16;

/** Bytes of an error's body: the rest is not waited for. */
const mostOfError = 1_048_576;

/** Answers that by definition have no body. */
const bodiless: ReadonlySet<number> = new Set([204, 205, 304]);

/**
 * A redirect is an answer like any other: following it would carry the key to a host nobody configured.
 * @throws TypeError as `fetch` does, with the reason as its cause; the signal's reason, also while the body is read; a ModelError
 * where an event of the body has no end.
 */
export async function httpFetch(...[input, init = {}]: Parameters<typeof fetch>): Promise<Response> {
  const { method = "GET", body = null, signal } = init;
  if (input instanceof Request || (body !== null && typeof body !== "string"))
    throw new TypeError("only a text is sent, and only to a URL");
  const url = new URL(input);
  // A compressed answer would be held back until there is enough of it.
  const headers = { accept: "*/*", ...Object.fromEntries(new Headers(init.headers)), "accept-encoding": "identity" };
  const toError = (message: string, cause: unknown): unknown =>
    signal?.aborted === true ? signal.reason : new TypeError(message, { cause });
  try {
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      const open = url.protocol === "https:" ? requestSecurely : request;
      const asked = open(url, { method, headers, ...(signal ? { signal } : {}) }, resolve);
      asked.on("error", reject);
      // Also when it goes without a word, as after a change of the protocol.
      asked.once("close", () => reject(new Error("the connection was closed without an answer")));
      asked.end(body ?? undefined);
    });
    return toResponse(answer, (cause) => toError("terminated", cause));
  } catch (error) {
    throw toError("fetch failed", error);
  }
}

function toResponse(answer: IncomingMessage, toError: (cause: unknown) => unknown): Response {
  const { statusCode: status = 0, statusMessage: statusText = "", headers } = answer;
  const { "content-encoding": encoding = "identity" } = headers;
  if (encoding !== "identity") {
    answer.destroy();
    throw new Error(`the answer is compressed (${encoding}), although that was not asked for`);
  }
  const pairs = Object.entries(headers).map(([name, value = ""]): [string, string] => [name, String(value)]);
  const body = bodiless.has(status) ? null : toBody(answer, status < 400 ? wholeEvents() : firstBytes(mostOfError), toError);
  // Else its connection would not be free for the next call.
  if (body === null) answer.resume();
  return new Response(body, { status, statusText, headers: pairs });
}

type Bounded = { readonly kind: "more" | "last"; readonly passed: Uint8Array } | { readonly kind: "too-large"; readonly error: ModelError };
/** What is passed on of the next piece. */
type Bound = (piece: Uint8Array) => Bounded;

function wholeEvents(): Bound {
  const events = new EventBound();
  return (piece) => {
    if (events.allows(piece)) return { kind: "more", passed: piece };
    const error = new ModelError("incomplete", `the answer holds a line or an event of more than ${mostOfEvent} bytes`);
    return { kind: "too-large", error };
  };
}

function firstBytes(most: number): Bound {
  let left = most;
  return (piece) => {
    const passed = piece.subarray(0, left);
    left -= passed.length;
    return { kind: left === 0 ? "last" : "more", passed };
  };
}

function toBody(answer: IncomingMessage, bound: Bound, toError: (cause: unknown) => unknown): ReadableStream<Uint8Array> {
  const start = (controller: ReadableStreamDefaultController<Uint8Array>): void => {
    answer.on("data", (piece: Uint8Array) => {
      // Whoever left took no more, and what had come by then is told of all the same.
      if (answer.destroyed) return;
      const bounded = bound(piece);
      if (bounded.kind === "too-large") controller.error(bounded.error);
      else controller.enqueue(bounded.passed);
      if (bounded.kind === "last") controller.close();
      if (bounded.kind !== "more") answer.destroy();
      else if ((controller.desiredSize ?? 0) <= 0) answer.pause();
    });
    answer.once("end", () => {
      if (!answer.destroyed) controller.close();
    });
    answer.once("error", (error) => controller.error(toError(error)));
  };
  return new ReadableStream(
    { start, pull: () => void answer.resume(), cancel: () => void answer.destroy() },
    { highWaterMark: mostUnread },
  );
}

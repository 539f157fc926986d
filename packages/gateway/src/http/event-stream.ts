/** An answer that comes in events (SSE): written as fast as its reader takes it, and no longer than it may be answered. */
import type { ServerResponse } from "node:http";
import { ProtocolError } from "@portreeve/protocol";
import type { Clock } from "../kit/clock.ts";
import type { Log } from "../kit/log.ts";
import type { EarlyEnd } from "./in-flight.ts";

export interface ServerEvent {
  readonly name?: string;
  /** On one line. */
  readonly data: string;
}

export interface EventsAnswer {
  /** Read one after the other, each only when the reader has taken the one before. What it throws ends the answer. */
  readonly events: AsyncIterable<ServerEvent>;
  /** How a failure is told to a reader that was promised a success. */
  readonly toFailure: (error: ProtocolError) => ServerEvent;
  readonly headers?: Readonly<Record<string, string>>;
  /** How long a reader that was cut off should wait before it asks again. */
  readonly retryMs?: number;
}

export interface Flow {
  readonly clock: Clock;
  readonly log: Log;
  /** Aborts when the answer is not wanted, or not permitted, any more. */
  readonly signal: AbortSignal;
  readonly ended: () => EarlyEnd | undefined;
}

/** A reader that takes nothing for so long is closed. */
export const stalledReaderMs = 30_000;
/** Nothing is said for so long: a comment, so that nobody on the way takes the connection for dead. */
export const keepAliveMs = 15_000;

/** Resolves when nothing is written any more; never rejects. */
export async function sendEvents(response: ServerResponse, answer: EventsAnswer, flow: Flow): Promise<void> {
  response.writeHead(200, {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    // Proxies that collect an answer before they pass it on would hold the events back.
    "x-accel-buffering": "no",
    ...answer.headers,
  });
  response.flushHeaders();
  if (answer.retryMs !== undefined) response.write(`retry: ${answer.retryMs}\n\n`);
  using _ = keepAlive(response, flow.clock);
  try {
    for await (const event of answer.events) {
      if (flow.signal.aborted) break;
      if (!response.write(toText(event)) && !(await isDrained(response, flow))) break;
    }
    if (!flow.signal.aborted) return end(response, "");
  } catch (error) {
    if (!flow.signal.aborted) return end(response, toText(answer.toFailure(toProtocolError(error, flow.log))));
  }
  if (flow.ended() !== "stopping") return void response.destroy();
  end(response, toText(answer.toFailure(new ProtocolError("SHUTTING_DOWN", "The gateway is stopping."))));
}

function end(response: ServerResponse, last: string): void {
  if (response.destroyed || response.writableNeedDrain) response.destroy();
  else response.end(last);
}

function keepAlive(response: ServerResponse, clock: Clock): Disposable {
  let timer: Disposable;
  const arm = (): void => {
    timer = clock.schedule(clock.now() + keepAliveMs, () => {
      if (response.writableLength === 0) response.write(": \n\n");
      arm();
    });
  };
  arm();
  return { [Symbol.dispose]: () => timer[Symbol.dispose]() };
}

/** Whether the reader took what it was sent, in time. */
function isDrained(response: ServerResponse, { clock, log, signal }: Flow): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const drained = (): void => resolve(true);
  const gone = (): void => resolve(false);
  response.once("drain", drained);
  signal.addEventListener("abort", gone, { once: true });
  const timer = clock.schedule(clock.now() + stalledReaderMs, () => {
    log.info({ waitedMs: stalledReaderMs }, "an answer in events was cut off: its reader takes nothing");
    response.destroy();
    gone();
  });
  if (signal.aborted) gone();
  return promise.finally(() => {
    timer[Symbol.dispose]();
    response.off("drain", drained);
    signal.removeEventListener("abort", gone);
  });
}

function toText({ name, data }: ServerEvent): string {
  return `${name === undefined ? "" : `event: ${name}\n`}data: ${data}\n\n`;
}

function toProtocolError(error: unknown, log: Log): ProtocolError {
  if (error instanceof ProtocolError) return error;
  log.error({ err: error }, "an answer in events failed unexpectedly");
  return new ProtocolError("INTERNAL", "internal error");
}

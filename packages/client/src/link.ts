/** One open connection's traffic: requests and their answers, the numbering of events, and whether the gateway still lives. */
import { isRecord, methodTable, type EventFrame, type ResponseFrame } from "@portreeve/protocol/wire";
import { connect, type Connection, type ConnectionListener, type ConnectOptions } from "./connect.ts";
import { ConnectionError, RemoteError, type Close } from "./errors.ts";

export interface RequestOptions {
  readonly signal?: AbortSignal | undefined;
  /** The request has gone out: whoever aborts before this knows that it has no effect. Must not throw. */
  readonly onSent?: (() => void) | undefined;
  /** Receives the first answer of a method that gives two. */
  readonly onAccepted?: ((accepted: unknown) => void) | undefined;
}

export interface SeqGap {
  readonly expected: number;
  readonly received: number;
}

/** What a link tells its owner. None may throw. `onOpen` comes first; `onLost` comes once, and never after `Link.close`. */
export interface LinkHandlers {
  onOpen(link: Link): void;
  onEvent(frame: EventFrame): void;
  onGap(gap: SeqGap): void;
  onLost(close: Close): void;
}

/** Connects and carries requests over that one socket. Rejects as `connect` does. */
export async function openLink(options: ConnectOptions, handlers: LinkHandlers): Promise<void> {
  let link: Link | undefined;
  const listener: ConnectionListener = {
    onOpen(connection) {
      link = new Link(options.url, connection, handlers);
      handlers.onOpen(link);
    },
    onFrame: (frame) => link?.hear(frame),
    onClose: (close) => link?.lose(close),
  };
  await connect(options, listener);
}

interface Pending {
  readonly method: string;
  readonly onAccepted: ((accepted: unknown) => void) | undefined;
  resolve(payload: unknown): void;
  reject(error: unknown): void;
}

export class Link {
  readonly connection: Connection;
  readonly #url: string;
  readonly #handlers: LinkHandlers;
  readonly #pending = new Map<string, Pending>();
  readonly #watchdog: NodeJS.Timeout;
  #requests = 0;
  #lastSeq: number | undefined;
  #heardAt = performance.now();
  #isOver = false;

  constructor(url: string, connection: Connection, handlers: LinkHandlers) {
    const { protocol, tickIntervalMs } = connection.hello;
    this.connection = connection;
    this.#url = url;
    this.#handlers = handlers;
    // Version 4 numbers each connection's events from 1; version 3 counts over all connections, so the first one sets the start.
    this.#lastSeq = protocol >= 4 ? 0 : undefined;
    this.#watchdog = setInterval(() => this.#watch(tickIntervalMs), tickIntervalMs);
    this.#watchdog.unref();
  }

  /**
   * Sends one request. Resolves with the final answer.
   * @throws RemoteError when the gateway refuses; ConnectionError when the connection ends first, so that the effect is unknown.
   */
  async request(method: string, params: unknown, options: RequestOptions = {}): Promise<unknown> {
    const { signal, onSent, onAccepted } = options;
    signal?.throwIfAborted();
    if (this.#isOver) throw this.#lostError(method, { code: 1006, reason: "" });
    const id = String(++this.#requests);
    // Throws for what is no JSON: nothing of the request is left then.
    this.connection.send({ type: "req", id, method, params });
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const onAbort = (): void => {
      this.#pending.delete(id);
      reject(signal?.reason);
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    this.#pending.set(id, { method, onAccepted, resolve, reject });
    onSent?.();
    return await promise.finally(() => signal?.removeEventListener("abort", onAbort));
  }

  /** Ends the connection; requests without an answer are rejected. */
  close(): void {
    this.#end({ code: 1000, reason: "closed by this client" });
    this.connection.close();
  }

  hear(frame: ResponseFrame | EventFrame): void {
    if (this.#isOver) return;
    this.#heardAt = performance.now();
    if (frame.type === "res") return this.#settle(frame);
    this.#count(frame.seq);
    this.#handlers.onEvent(frame);
  }

  lose(close: Close): void {
    if (this.#isOver) return;
    this.#end(close);
    this.#handlers.onLost(close);
  }

  #settle(frame: ResponseFrame): void {
    const pending = this.#pending.get(frame.id);
    if (pending === undefined) return;
    if (frame.ok && isFirstAnswer(pending.method, frame.payload)) return pending.onAccepted?.(frame.payload);
    this.#pending.delete(frame.id);
    if (frame.ok) pending.resolve(frame.payload);
    else pending.reject(new RemoteError(frame.error ?? { code: "UNAVAILABLE", message: `${pending.method} failed without saying why` }));
  }

  #count(seq: number | undefined): void {
    if (seq === undefined) return;
    const expected = (this.#lastSeq ?? seq - 1) + 1;
    this.#lastSeq = seq;
    if (seq > expected) this.#handlers.onGap({ expected, received: seq });
  }

  #watch(tickIntervalMs: number): void {
    if (performance.now() - this.#heardAt <= 2 * tickIntervalMs) return;
    this.connection.close(4000, "tick timeout");
    // A peer that is gone never answers the close: the connection counts as lost at once.
    this.lose({ code: 4000, reason: "tick timeout" });
  }

  #end(close: Close): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearInterval(this.#watchdog);
    for (const { method, reject } of this.#pending.values()) reject(this.#lostError(method, close));
    this.#pending.clear();
  }

  #lostError(method: string, close: Close): ConnectionError {
    const why = close.reason === "" ? `code ${close.code}` : `code ${close.code}: ${close.reason}`;
    const message = `The connection to ${this.#url} ended before ${method} was answered (${why}); whether it took effect is not known.`;
    return new ConnectionError("closed", message, { phase: "calling", url: this.#url, close });
  }
}

function isFirstAnswer(method: string, payload: unknown): boolean {
  const answersTwice = Object.hasOwn(methodTable, method) && methodTable[method]?.twoAnswers === true;
  return answersTwice && isRecord(payload) && payload["status"] === "accepted";
}

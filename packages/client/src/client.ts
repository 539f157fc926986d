/** A client of one gateway: calls and events over a socket that is opened again when it is lost. */
import { ProtocolError, type Caller, type CallOptions, type EventFrame, type EventName, type EventPayload } from "@portreeve/protocol/wire";
import type { MethodName, ParamsInput, Result } from "@portreeve/protocol/wire";
import { backoffDelayMs, pause, type Backoff } from "./backoff.ts";
import type { ConnectOptions } from "./connect.ts";
import { ConnectionError, mayReconnectAfter, mayReconnectAfterClose, type Close } from "./errors.ts";
import type { Hello } from "./hello.ts";
import { openLink, type Link, type RequestOptions, type SeqGap } from "./link.ts";

export interface ClientOptions extends ConnectOptions {
  /** `false`: a lost connection ends the client. Default: 1 s, doubling to 30 s, until the gateway refuses us. */
  readonly reconnect?: false | Backoff;
  /** The connection is there, also again: subscriptions are gone and events were missed, so read anew. Must not throw. */
  readonly onOpen?: (hello: Hello) => void;
  /** Events were lost (protocol 4) or were not for us (protocol 3): read anew. Must not throw. */
  readonly onGap?: (gap: SeqGap) => void;
}

/** Those of every caller, and those of a request over a connection. */
export type ClientCallOptions<N extends MethodName> = CallOptions<N> & Pick<RequestOptions, "onSent">;

type State =
  | { readonly state: "open"; readonly link: Link }
  | { readonly state: "reconnecting"; readonly link: Promise<Link> }
  | { readonly state: "closed"; readonly error: Error };

type Listener = (payload: never) => void;

export class GatewayClient implements Caller {
  /** Resolves when the client has ended for good, with the reason. */
  readonly closed: Promise<Error>;
  readonly #options: ClientOptions;
  readonly #backoff: Backoff | undefined;
  readonly #listeners = new Map<string, Set<Listener>>();
  readonly #ended = Promise.withResolvers<Error>();
  readonly #stop = new AbortController();
  #state: State;
  #socketsOpened = 0;

  /**
   * Connects once and resolves with the open client; it does not retry before it was open.
   * @throws RemoteError when the gateway refuses; ConnectionError when it does not answer.
   */
  static async open(options: ClientOptions): Promise<GatewayClient> {
    const client = new GatewayClient(options);
    await client.#openLink(options.signal);
    return client;
  }

  private constructor(options: ClientOptions) {
    this.closed = this.#ended.promise;
    this.#options = options;
    this.#backoff = options.reconnect === false ? undefined : (options.reconnect ?? { minDelayMs: 1_000, maxDelayMs: 30_000 });
    this.#state = { state: "closed", error: new Error("not open yet") };
  }

  /** WebSockets this client has opened, reconnects and failed attempts included. */
  get socketsOpened(): number {
    return this.#socketsOpened;
  }

  /** The hello of the open connection. @throws Error when there is none. */
  get hello(): Hello {
    return this.#openState().connection.hello;
  }

  /** The key the gateway has proved, or undefined when it proves none. @throws Error when there is no open connection. */
  get gatewayKey(): string | undefined {
    return this.#openState().connection.gatewayKey;
  }

  /**
   * Calls a method of the contract. Waits while a lost connection is opened again, until the signal aborts; a call that was
   * under way when it was lost is rejected and not repeated.
   * @throws RemoteError for the gateway's refusal; ConnectionError when no answer came; the signal's reason.
   */
  async call<N extends MethodName>(name: N, params: ParamsInput<N>, options: ClientCallOptions<N> = {}): Promise<Result<N>> {
    const { scopes, signal, onSent, onAccepted } = options;
    const link = await this.#whenOpen(signal);
    if (scopes !== undefined) assertScopes(name, link.connection.scopes, scopes);
    // The gateway checks what it sends against the same contract; a client carries no schemas.
    return (await link.request(name, params, { signal, onSent, onAccepted: onAccepted as (accepted: unknown) => void })) as Result<N>;
  }

  /** `call` for a method that is not in the contract, or not known when compiling. */
  async request(method: string, params: unknown, options: RequestOptions = {}): Promise<unknown> {
    const link = await this.#whenOpen(options.signal);
    return await link.request(method, params, options);
  }

  /** Hears an event until disposed, over reconnects too. The listener must not throw. */
  on<N extends EventName>(event: N, listener: (payload: EventPayload<N>) => void): Disposable {
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners);
    listeners.add(listener);
    return { [Symbol.dispose]: () => void listeners.delete(listener) };
  }

  /** Ends the client; calls without an answer are rejected. */
  close(): void {
    this.#end(new ConnectionError("closed", "This client was closed.", { phase: "connecting", url: this.#options.url }));
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #openLink(signal: AbortSignal | undefined): Promise<void> {
    this.#socketsOpened += 1;
    return openLink(
      { ...this.#options, signal },
      {
        onOpen: (link) => {
          this.#state = { state: "open", link };
          this.#options.onOpen?.(link.connection.hello);
        },
        onEvent: (frame) => this.#emit(frame),
        onGap: (gap) => this.#options.onGap?.(gap),
        onLost: (close) => this.#lost(close),
      },
    );
  }

  #emit(frame: EventFrame): void {
    // Payloads are as the contract says: the gateway checks them, and a client carries no schemas.
    for (const listener of this.#listeners.get(frame.event) ?? []) (listener as (payload: unknown) => void)(frame.payload);
  }

  #lost(close: Close): void {
    if (this.#backoff === undefined || !mayReconnectAfterClose(close)) {
      const why = close.reason === "" ? `code ${close.code}` : `code ${close.code}: ${close.reason}`;
      const message = `The gateway closed the connection (${why}).`;
      return this.#end(new ConnectionError("closed", message, { phase: "connecting", url: this.#options.url, close }));
    }
    const again = this.#reconnect(this.#backoff);
    again.catch((error: unknown) => this.#end(error instanceof Error ? error : new Error(String(error))));
    this.#state = { state: "reconnecting", link: again };
  }

  async #reconnect(backoff: Backoff): Promise<Link> {
    const { signal } = this.#stop;
    let notBeforeMs = 0;
    for (let attempt = 0; ; attempt += 1) {
      await pause(Math.max(notBeforeMs, backoffDelayMs(attempt, backoff, Math.random())), signal);
      try {
        await this.#openLink(signal);
        return this.#openState();
      } catch (error) {
        if (!mayReconnectAfter(error)) throw error;
        notBeforeMs = error instanceof ProtocolError ? (error.retryAfterMs ?? 0) : 0;
      }
    }
  }

  #end(error: Error): void {
    const before = this.#state;
    if (before.state === "closed") return;
    this.#state = { state: "closed", error };
    this.#stop.abort(error);
    if (before.state === "open") before.link.close();
    this.#ended.resolve(error);
  }

  #openState(): Link {
    if (this.#state.state === "open") return this.#state.link;
    throw this.#state.state === "closed" ? this.#state.error : new Error("The connection is lost and being opened again.");
  }

  /** The open connection's link. Rejects with the signal's reason when it aborts first. */
  #whenOpen(signal: AbortSignal | undefined): Link | Promise<Link> {
    if (this.#state.state === "closed") throw this.#state.error;
    return this.#state.state === "open" || signal === undefined ? this.#state.link : unlessAborted(this.#state.link, signal);
  }
}

async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

/** A connection's scopes are settled when it opens: other ones cannot be honoured here, and are never ignored. */
function assertScopes(method: string, connection: readonly string[], scopes: readonly string[]): void {
  const held = new Set(connection);
  const asked = new Set(scopes);
  if (held.symmetricDifference(asked).size === 0) return;
  throw new ProtocolError(
    "NOT_SUPPORTED",
    `${method} asks for [${[...asked].join(", ")}], but this connection has [${[...held].join(", ")}]`,
    {
      remedy: "Open a connection with exactly these scopes for the call.",
    },
  );
}

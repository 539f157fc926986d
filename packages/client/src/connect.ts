/** One handshake: challenge, the gateway's proof, our proof, hello. What it opens belongs to the caller, who closes it. */
import {
  authenticationWords,
  isRecord,
  parseServerFrame,
  type ErrorBody,
  type EventFrame,
  type ResponseFrame,
} from "@portreeve/protocol/wire";
import { addressOf } from "./address.ts";
import { connectProofText, type DeviceKey } from "./device-key.ts";
import { ConnectionError, RemoteError, type Close } from "./errors.ts";
import { fingerprintOf, type GatewayPins, type PinVerdict } from "./gateway-pins.ts";
import { verifyGatewayProof } from "./gateway-proof.ts";
import { parseHello, type Hello } from "./hello.ts";

export interface ClientInfo {
  /** One of the protocol's client ids; it says what we are, and gives no authority. */
  readonly id: string;
  readonly mode: string;
  readonly version: string;
  readonly platform: string;
  readonly deviceFamily?: string;
  readonly displayName?: string;
}

export type Credential =
  | { readonly kind: "secret"; readonly value: string }
  | { readonly kind: "device-token"; readonly value: string }
  /** The token of a setup code: good once, for this device. */
  | { readonly kind: "setup-code"; readonly value: string }
  | { readonly kind: "none" };

/** What one connect asks for and with what. */
export interface Presentation {
  /** Asked for exactly so; an empty list asks for nothing. */
  readonly scopes: readonly string[];
  readonly credential: Credential;
}

export interface ConnectOptions {
  readonly url: string;
  readonly client: ClientInfo;
  /**
   * Decides what to present once the gateway has proved `gatewayKey` (undefined: it proves none). A device token belongs
   * to one key: never answer with it for another.
   */
  readonly present: (gateway: { readonly gatewayKey: string | undefined }) => Presentation | Promise<Presentation>;
  /** Absent: a connection without a device, which most gateways give no scopes. */
  readonly device?: DeviceKey | undefined;
  /** Holds the gateway to the key it proved before at this address. Absent: every meeting is the first. */
  readonly pins?: GatewayPins | undefined;
  readonly role?: "operator" | "node";
  readonly caps?: readonly string[];
  readonly protocol?: { readonly min: number; readonly max: number };
  /** For the whole handshake. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
  /** SHA-256 of the only certificate to speak to, in hex: for one that no authority vouches for. Only with wss://. */
  readonly tlsFingerprint?: string | undefined;
}

/** Hears a connection from its hello on: `onOpen`, then frames, then `onClose`, each at most once but frames. None may throw. */
export interface ConnectionListener {
  onOpen(connection: Connection): void;
  onFrame(frame: ResponseFrame | EventFrame): void;
  onClose(close: Close): void;
}

export interface Connection {
  readonly hello: Hello;
  readonly gatewayKey: string | undefined;
  /** As asked for; the gateway grants all of them or refuses the connect. */
  readonly scopes: readonly string[];
  send(frame: object): void;
  close(code?: number, reason?: string): void;
}

const requestId = "connect";
const defaultTimeoutMs = 10_000;

/**
 * Opens a WebSocket and connects. Frames may follow the hello before the promise is seen to resolve: `listener` gets them all.
 * @throws RemoteError when the gateway refuses, with its details and how it closed.
 * @throws ConnectionError when it cannot be reached, does not answer in `timeoutMs` (default 10 s), or fails its own proof.
 */
export async function connect(options: ConnectOptions, listener: ConnectionListener): Promise<Connection> {
  options.signal?.throwIfAborted();
  const socket = options.tlsFingerprint === undefined ? openSocket(options.url) : await openPinned(options, options.tlsFingerprint);
  const handshake = new Handshake(options, listener, socket);
  return await handshake.done;
}

async function openPinned({ url, signal, timeoutMs = defaultTimeoutMs }: ConnectOptions, fingerprint: string): Promise<WebSocket> {
  const { openPinnedSocket } = await import("./pinned-socket.ts");
  const timeout = AbortSignal.timeout(timeoutMs);
  try {
    return await openPinnedSocket(url, fingerprint, signal === undefined ? timeout : AbortSignal.any([signal, timeout]));
  } catch (error) {
    if (error !== timeout.reason) throw error;
    throw new ConnectionError("timeout", `${url} did not finish the TLS handshake within ${timeoutMs} ms.`, { phase: "connecting", url });
  }
}

function openSocket(url: string): WebSocket {
  try {
    return new WebSocket(url);
  } catch (error) {
    throw new ConnectionError("unreachable", `${url} is not a WebSocket address; expected ws://host:port or wss://host:port`, {
      phase: "connecting",
      url,
      cause: error,
    });
  }
}

interface Presented {
  readonly gatewayKey: string | undefined;
  readonly scopes: readonly string[];
  /** What a person can compare; undefined where one side proves no key. */
  readonly words: string | undefined;
}

type Phase = "opening" | "challenged" | "refused" | "open" | "over";

class Handshake {
  readonly done: Promise<Connection>;
  readonly #options: ConnectOptions;
  readonly #listener: ConnectionListener;
  readonly #socket: WebSocket;
  readonly #settle: PromiseWithResolvers<Connection>;
  readonly #timer: NodeJS.Timeout;
  readonly #onAbort = (): void => this.#fail(this.#options.signal?.reason);
  /** Aborted when the handshake is decided. */
  readonly #over = new AbortController();
  #phase: Phase = "opening";
  #reached = false;
  #presented: Presented | undefined;
  #refusal: ErrorBody | undefined;

  constructor(options: ConnectOptions, listener: ConnectionListener, socket: WebSocket) {
    this.#options = options;
    this.#listener = listener;
    this.#socket = socket;
    this.#settle = Promise.withResolvers();
    this.done = this.#settle.promise;
    const timeoutMs = options.timeoutMs ?? defaultTimeoutMs;
    this.#timer = setTimeout(() => this.#expire(timeoutMs), timeoutMs);
    options.signal?.addEventListener("abort", this.#onAbort, { once: true });
    socket.addEventListener("open", () => (this.#reached = true));
    // The close event that always follows says the same and more.
    socket.addEventListener("error", () => undefined);
    socket.addEventListener("message", (event) => this.#hear(String(event.data)));
    socket.addEventListener("close", (event) => this.#closed({ code: event.code, reason: event.reason }));
  }

  #hear(text: string): void {
    const parsed = parseServerFrame(text);
    if (parsed.kind !== "frame") return;
    const { frame } = parsed;
    if (this.#phase === "open") return this.#listener.onFrame(frame);
    if (this.#phase === "opening" && frame.type === "event" && frame.event === "connect.challenge") {
      this.#phase = "challenged";
      this.#answer(frame.payload).catch((error: unknown) => this.#fail(error));
      return;
    }
    if (this.#phase === "challenged" && frame.type === "res" && frame.id === requestId) this.#conclude(frame);
  }

  async #answer(payload: unknown): Promise<void> {
    const { nonce, ts, gateway } = isRecord(payload) ? payload : {};
    if (typeof nonce !== "string" || typeof ts !== "number")
      throw this.#error("closed", "The gateway's challenge lacks a nonce or a time.");
    const proof = verifyGatewayProof({ nonce, ts, gateway });
    if (proof.kind === "invalid") {
      throw this.#error(
        "unproved",
        `${this.#options.url} does not prove its key: ${proof.why}. Nothing was sent to it; check the address.`,
      );
    }
    const gatewayKey = proof.kind === "proved" ? proof.key : undefined;
    const verdict = (await this.#options.pins?.admit(this.#options.url, gatewayKey)) ?? { kind: "known" };
    if (verdict.kind === "changed") throw this.#error("key-changed", describeChange(this.#options.url, verdict, gatewayKey));
    const presentation = await this.#options.present({ gatewayKey });
    const params = toConnectParams(this.#options, presentation, { nonce, ts });
    const words = await wordsOf(params.device, { gatewayKey, nonce });
    if (this.#phase !== "challenged") return;
    this.#presented = { gatewayKey, scopes: presentation.scopes, words };
    this.#send({ type: "req", id: requestId, method: "connect", params });
  }

  #conclude(frame: ResponseFrame): void {
    if (!frame.ok) {
      // The close that follows carries a code and a reason worth keeping: wait for it.
      this.#phase = "refused";
      this.#refusal = frame.error ?? { code: "UNAVAILABLE", message: "the gateway refused without saying why" };
      return;
    }
    const hello = parseHello(frame.payload);
    if (hello === undefined || this.#presented === undefined)
      return this.#fail(this.#error("closed", "The gateway's answer to connect is not a hello."));
    this.#phase = "open";
    this.#release();
    const connection: Connection = {
      hello,
      gatewayKey: this.#presented.gatewayKey,
      scopes: this.#presented.scopes,
      send: (request) => this.#send(request),
      close: (code = 1000, reason = "") => this.#socket.close(code, reason),
    };
    this.#listener.onOpen(connection);
    this.#settle.resolve(connection);
  }

  #closed(close: Close): void {
    if (this.#phase === "open") {
      this.#phase = "over";
      return this.#listener.onClose(close);
    }
    if (this.#refusal !== undefined) return this.#fail(new RemoteError(this.#refusal, close, this.#presented?.words));
    if (!this.#reached) return void this.#failUnreached();
    const why = close.reason === "" ? `code ${close.code}` : `code ${close.code}: ${close.reason}`;
    this.#fail(this.#error("closed", `${this.#options.url} closed the connection during the handshake (${why}).`, close));
  }

  /** The platform's WebSocket does not say whether nobody answered or the certificate was not trusted. Never rejects. */
  async #failUnreached(): Promise<void> {
    const { url } = this.#options;
    const { findDistrust } = await import("./tls-socket.ts");
    const distrust = await findDistrust(url, this.#over.signal);
    if (distrust === undefined) return this.#fail(this.#error("unreachable", `No gateway answers at ${url}.`));
    this.#fail(
      this.#error("untrusted", `${url} shows a certificate that this machine does not trust (${distrust}). Nothing was sent to it.`),
    );
  }

  #expire(timeoutMs: number): void {
    if (this.#refusal !== undefined) return this.#fail(new RemoteError(this.#refusal, undefined, this.#presented?.words));
    this.#fail(this.#error("timeout", `${this.#options.url} did not finish the handshake within ${timeoutMs} ms.`));
  }

  #fail(error: unknown): void {
    if (this.#phase === "open" || this.#phase === "over") return;
    this.#phase = "over";
    this.#release();
    this.#socket.close();
    this.#settle.reject(error);
  }

  #release(): void {
    this.#over.abort();
    clearTimeout(this.#timer);
    this.#options.signal?.removeEventListener("abort", this.#onAbort);
  }

  #send(frame: object): void {
    this.#socket.send(JSON.stringify(frame));
  }

  #error(kind: ConnectionError["kind"], message: string, close?: Close): ConnectionError {
    return new ConnectionError(kind, message, { phase: "connecting", url: this.#options.url, close });
  }
}

function describeChange(url: string, { pinned }: Extract<PinVerdict, { kind: "changed" }>, proved: string | undefined): string {
  const now = proved === undefined ? "it proves none" : `it is ${fingerprintOf(proved)}`;
  return (
    `The gateway at ${addressOf(url)} has another key than before: it was ${fingerprintOf(pinned)}, now ${now}. ` +
    "Either the gateway was set up anew, or something else answers at its address and would read all you send. Nothing was sent to it."
  );
}

async function wordsOf(
  device: { readonly publicKey: string; readonly signature: string } | undefined,
  { gatewayKey, nonce }: { readonly gatewayKey: string | undefined; readonly nonce: string },
): Promise<string | undefined> {
  if (device === undefined || gatewayKey === undefined) return undefined;
  return authenticationWords({ gatewayKey, deviceKey: device.publicKey, nonce, signature: device.signature });
}

const authFields = { secret: "token", "device-token": "deviceToken", "setup-code": "bootstrapToken" } as const;

function toConnectParams(options: ConnectOptions, presentation: Presentation, challenge: { nonce: string; ts: number }) {
  const { client, device, role = "operator", protocol = { min: 4, max: 4 } } = options;
  const { scopes, credential } = presentation;
  const proof = {
    clientId: client.id,
    clientMode: client.mode,
    role,
    scopes,
    signedAt: challenge.ts,
    token: credential.kind === "none" ? "" : credential.value,
    nonce: challenge.nonce,
    platform: client.platform,
    deviceFamily: client.deviceFamily,
  };
  return {
    minProtocol: protocol.min,
    maxProtocol: protocol.max,
    client,
    role,
    scopes,
    caps: options.caps ?? [],
    ...(credential.kind === "none" ? {} : { auth: { [authFields[credential.kind]]: credential.value } }),
    ...(device === undefined
      ? {}
      : {
          device: {
            id: device.id,
            publicKey: device.publicKey,
            signature: device.sign(connectProofText(device, proof)),
            nonce: challenge.nonce,
            signedAt: challenge.ts,
          },
        }),
  };
}

/**
 * The load side of one WebSocket: connects as a paired device, asks, hears events, and can send one request over and over
 * with nothing between it and the socket. The same code drives the bare echo server, so that a ratio is about the servers.
 */
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { connectProofText, createDeviceKey, type DeviceKey } from "@portreeve/client";
import { WebSocket } from "ws";
import { nowMs, repeat } from "./measure.ts";

export interface Access {
  readonly url: string;
  /** The shared secret; undefined: the server asks for no connect. */
  readonly token?: string | undefined;
}

export interface WireEvent {
  readonly event: string;
  readonly payload: Readonly<Record<string, unknown>>;
}

interface Frame extends WireEvent {
  readonly type: "res" | "event";
  readonly id: string;
  readonly ok: boolean;
  readonly error?: { readonly code: string; readonly message: string };
}

interface Pending {
  readonly onAccepted: (() => void) | undefined;
  readonly resolve: (payload: Frame["payload"]) => void;
  readonly reject: (error: Error) => void;
}

/** The gateway said no. */
export class Refused extends Error {
  override readonly name = "Refused";
  readonly code: string;

  constructor(method: string, error: Frame["error"]) {
    super(`${method}: ${error?.code} ${error?.message}`);
    this.code = error?.code ?? "";
  }
}

const scopes = ["operator.read", "operator.write"];
const client = { id: "test", mode: "test", version: "1", platform: "linux" };
/** A device may have 32 open sockets: a case with more connections has more devices. */
const socketsPerDevice = 16;
const devices: DeviceKey[] = [];

export class Wire implements Disposable {
  /** What the server says it can do; empty for one that asked for no connect. */
  methods: readonly string[] = [];
  onEvent: ((event: WireEvent) => void) | undefined;
  readonly #socket: WebSocket;
  readonly #pending = new Map<string, Pending>();
  #onAnswer: ((data: Buffer) => void) | undefined;
  #lastId = 0;

  static async open({ url, token }: Access, device = toDevice(0)): Promise<Wire> {
    const socket = new WebSocket(url, { perMessageDeflate: false });
    if (token === undefined) {
      await once(socket, "open");
      return new Wire(socket);
    }
    const [data] = (await once(socket, "message")) as [Buffer];
    const { payload } = JSON.parse(data.toString()) as { payload: { nonce: string; ts: number } };
    const wire = new Wire(socket);
    const hello = await wire.request("connect", toConnect(device, payload, token));
    wire.methods = (hello as { features?: { methods?: readonly string[] } }).features?.methods ?? [];
    return wire;
  }

  /** Few at a time: a peer may have 32 sockets that have not said hello. */
  static async openMany(access: Access, count: number): Promise<readonly Wire[] & Disposable> {
    const wires: Wire[] = [];
    let opened = 0;
    await repeat(count, 16, async () => void wires.push(await Wire.open(access, toDevice(Math.floor(opened++ / socketsPerDevice)))));
    return Object.assign(wires, { [Symbol.dispose]: () => wires.forEach((wire) => wire[Symbol.dispose]()) });
  }

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on("message", (data: Buffer) => (this.#onAnswer ?? this.#hear)(data));
    socket.on("close", (code, reason) => this.#lose(new Error(`the target closed the connection: ${code} ${reason.toString()}`)));
    socket.on("error", (error) => this.#lose(error));
  }

  /** Resolves with the last answer. @throws Refused */
  request(method: string, params: object, onAccepted?: () => void): Promise<Frame["payload"]> {
    const id = String(++this.#lastId);
    const { promise, resolve, reject } = Promise.withResolvers<Frame["payload"]>();
    this.#pending.set(id, { onAccepted, resolve, reject: (error) => reject(error) });
    this.#socket.send(JSON.stringify({ type: "req", id, method, params }));
    return promise;
  }

  /** Starts a turn; resolves when it has ended. `onAccepted` hears that it is durable. */
  // A turn is answered twice: without somebody for the first answer, that would count as the last.
  agent(sessionKey: string, message: string, onAccepted = (): void => undefined): Promise<Frame["payload"]> {
    return this.request("agent", { message, sessionKey, idempotencyKey: randomUUID() }, onAccepted);
  }

  /** Resolves with when the answer came. @throws Refused */
  async spawn(sessionKey: string, task: string): Promise<number> {
    await this.request("subagents.spawn", { task, sessionKey, idempotencyKey: randomUUID() });
    return nowMs();
  }

  /** Sends the frame again and again, `atOnce` in flight, counting answers that hold `marker`; answers a second. */
  async saturate(frame: object, { marker, atOnce, forMs }: { marker: string; atOnce: number; forMs: number }): Promise<number> {
    const text = JSON.stringify(frame);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const startedAt = performance.now();
    let answers = 0;
    let inFlight = atOnce;
    this.#onAnswer = (data) => {
      if (!data.includes(marker)) {
        if (data.includes('"type":"res"')) reject(new Error(`not the expected answer: ${data.toString()}`));
        return;
      }
      answers += 1;
      if (performance.now() - startedAt < forMs) return this.#socket.send(text);
      inFlight -= 1;
      if (inFlight === 0) resolve();
    };
    for (let index = 0; index < atOnce; index += 1) this.#socket.send(text);
    await promise;
    this.#onAnswer = undefined;
    return (1_000 * answers) / (performance.now() - startedAt);
  }

  [Symbol.dispose](): void {
    this.#socket.terminate();
  }

  readonly #hear = (data: Buffer): void => {
    const frame = JSON.parse(data.toString()) as Frame; // The target's; a frame that is not of the protocol ends the benchmark.
    if (frame.type === "event") return this.onEvent?.(frame);
    const pending = this.#pending.get(frame.id);
    if (pending === undefined) return;
    if (frame.ok && frame.payload["status"] === "accepted" && pending.onAccepted !== undefined) return pending.onAccepted();
    this.#pending.delete(frame.id);
    if (frame.ok) pending.resolve(frame.payload);
    else pending.reject(new Refused("request", frame.error));
  };

  #lose(error: Error): void {
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }
}

function toDevice(index: number): DeviceKey {
  return (devices[index] ??= createDeviceKey());
}

function toConnect({ id, publicKey, sign }: DeviceKey, { nonce, ts }: { nonce: string; ts: number }, token: string): object {
  const proof = { clientId: client.id, clientMode: client.mode, role: "operator", scopes, signedAt: ts, token, nonce, platform: "linux" };
  const signature = sign(connectProofText({ id }, proof));
  const proved = { id, publicKey, signature, signedAt: ts, nonce };
  return { minProtocol: 3, maxProtocol: 4, client, role: "operator", scopes, auth: { token }, device: proved };
}

/** A client that sends exactly what a test tells it to, valid or not, and shows what came back. */
import { createHash, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import type { ErrorBody } from "@portreeve/protocol";
import { WebSocket } from "ws";

export interface Frame {
  readonly type: "res" | "event";
  readonly id?: string;
  readonly ok?: boolean;
  readonly event?: string;
  readonly seq?: number;
  readonly payload?: Record<string, unknown>;
  readonly error?: ErrorBody & { readonly details?: Record<string, unknown> };
}

export interface Wire extends AsyncDisposable {
  readonly nonce: string;
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>;
  /** Every frame so far. */
  readonly frames: readonly Frame[];
  send(frame: unknown): void;
  /** Reads nothing any more, as a client that hangs; `resume` reads on. */
  pause(): void;
  resume(): void;
  /** Resolves with the first frame, past or future, that fits; rejects when the socket closes first. */
  frame(fits: (frame: Frame) => boolean): Promise<Frame>;
  /** One request and its (first) answer. */
  request(method: string, params?: unknown): Promise<Frame>;
}

export interface WireKey {
  readonly id: string;
  readonly publicKey: string;
  readonly privateKey: KeyObject;
}

export interface ConnectInput {
  readonly key?: WireKey;
  readonly scopes?: readonly string[];
  readonly token?: string;
  readonly deviceToken?: string;
  readonly bootstrapToken?: string;
  readonly role?: string;
  readonly protocol?: 3 | 4;
  readonly client?: object;
  /** What the device signs when it is not the connection's own nonce. */
  readonly nonce?: string;
  readonly signedAt?: number;
  readonly layout?: "v2" | "v3";
  readonly extra?: object;
}

/** In an error. */
const shownFrames = 100;

export function createWireKey(): WireKey {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const raw = publicKey.export({ format: "jwk" }).x ?? "";
  return { publicKey: raw, privateKey, id: createHash("sha256").update(Buffer.from(raw, "base64url")).digest("hex") };
}

/** Opens a socket and waits for the challenge. Rejects with the HTTP status when the upgrade is refused. `ca`: whose TLS is trusted. */
export async function openWire(url: string, headers: Readonly<Record<string, string>> = {}, ca?: Buffer): Promise<Wire> {
  const socket = new WebSocket(url, { headers, perMessageDeflate: false, ...(ca === undefined ? {} : { ca }) });
  const frames: Frame[] = [];
  /** Each is shown what comes; without a frame: nothing comes any more. */
  const waiting = new Set<(frame?: Frame) => void>();
  let closedWith: string | undefined;
  const closed = new Promise<{ code: number; reason: string }>((resolve) => {
    socket.on("close", (code, reason) => {
      closedWith = `${code} ${reason.toString()}`;
      resolve({ code, reason: reason.toString() });
      for (const look of waiting) look();
    });
  });
  socket.on("error", () => undefined);
  socket.on("message", (data) => {
    const frame = JSON.parse(String(data)) as Frame;
    frames.push(frame);
    for (const look of waiting) look(frame);
  });
  const frame = (fits: (frame: Frame) => boolean): Promise<Frame> =>
    new Promise((resolve, reject) => {
      const known = frames.find(fits);
      if (known !== undefined) return resolve(known);
      const look = (came?: Frame): void => {
        if (came !== undefined && fits(came)) resolve(came);
        else if (closedWith !== undefined)
          reject(new Error(`closed without the frame (${closedWith}); came: ${JSON.stringify(frames.slice(-shownFrames))}`));
        else return;
        waiting.delete(look);
      };
      waiting.add(look);
      look();
    });
  await new Promise<void>((resolve, reject) => {
    socket.once("open", () => resolve());
    socket.once("unexpected-response", (_request, response) => reject(new Error(`HTTP ${response.statusCode}`)));
    socket.once("error", reject);
  });
  const challenge = await frame((one) => one.event === "connect.challenge");
  let requests = 0;
  return {
    nonce: String(challenge.payload?.["nonce"]),
    closed,
    frames,
    frame,
    pause: () => socket.pause(),
    resume: () => socket.resume(),
    send: (value) => socket.send(typeof value === "string" || value instanceof Uint8Array ? value : JSON.stringify(value)),
    request(method, params) {
      requests += 1;
      const id = `r${requests}`;
      socket.send(JSON.stringify({ type: "req", id, method, params }));
      return frame((one) => one.type === "res" && one.id === id);
    },
    async [Symbol.asyncDispose]() {
      socket.terminate();
      await closed;
    },
  };
}

/** The `connect` request for `wire`, signed when there is a key. */
export function connectParams(wire: Pick<Wire, "nonce">, input: ConnectInput): object {
  const { key, scopes = [], token, deviceToken, bootstrapToken, role = "operator", protocol = 4 } = input;
  const client = { id: "test", mode: "test", version: "1.0.0", platform: "linux", ...input.client };
  const auth = {
    ...(token === undefined ? {} : { token }),
    ...(deviceToken === undefined ? {} : { deviceToken }),
    ...(bootstrapToken === undefined ? {} : { bootstrapToken }),
  };
  const base = { minProtocol: protocol, maxProtocol: protocol, client, role, scopes, auth, ...input.extra };
  if (key === undefined) return base;
  const signedAt = input.signedAt ?? Date.now();
  const nonce = input.nonce ?? wire.nonce;
  const layout = input.layout ?? "v3";
  const signed = token ?? deviceToken ?? bootstrapToken ?? "";
  const fields = [layout, key.id, client.id, client.mode, role, scopes.join(","), String(signedAt), signed, nonce];
  const text = [...fields, ...(layout === "v3" ? [client.platform, ""] : [])].join("|");
  const signature = sign(undefined, Buffer.from(text), key.privateKey).toString("base64url");
  return { ...base, device: { id: key.id, publicKey: key.publicKey, signature, signedAt, nonce } };
}

/** Connects and answers the open wire with its hello; fails when it is refused. */
export async function connectWire(
  url: string,
  input: ConnectInput,
  headers: Readonly<Record<string, string>> = {},
  ca?: Buffer,
): Promise<Wire & { readonly hello: Record<string, unknown> }> {
  const wire = await openWire(url, headers, ca);
  const answer = await wire.request("connect", connectParams(wire, input));
  if (answer.ok !== true) throw new Error(`connect refused: ${JSON.stringify(answer.error)}`);
  return { ...wire, hello: answer.payload ?? {} };
}

/** Connects and answers the refusal and the close; fails when it is let in. */
export async function refusedConnect(
  url: string,
  input: ConnectInput,
  headers: Readonly<Record<string, string>> = {},
): Promise<{ readonly error: NonNullable<Frame["error"]>; readonly close: { readonly code: number; readonly reason: string } }> {
  await using wire = await openWire(url, headers);
  const answer = await wire.request("connect", connectParams(wire, input));
  if (answer.error === undefined) throw new Error("connect was let in");
  return { error: answer.error, close: await wire.closed };
}

/** `openclaw-node`, a client library others wrote, in this process. */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { type Flow, getRecord, passed, type Passed, sayScript } from "../flow.ts";
import { loadLibrary } from "../installation.ts";
import type { Rig } from "../rig.ts";

const client = "openclaw-node";

interface Chunk {
  readonly type: string;
  readonly text: string;
}

interface Client {
  connect(): Promise<object>;
  disconnect(): Promise<void>;
  hasMethod(method: string): boolean;
  chat(message: string, options?: { readonly sessionKey?: string }): AsyncGenerator<Chunk>;
  chatSync(message: string, options?: { readonly sessionKey?: string }): Promise<string>;
  chatAbort(sessionKey: string): Promise<Readonly<Record<string, unknown>>>;
  health(): Promise<Readonly<Record<string, unknown>>>;
  request(method: string, params: object): Promise<unknown>;
  readonly agents: { list(): Promise<{ readonly agents: readonly { readonly id: string }[] }> };
  readonly sessions: {
    list(): Promise<unknown>;
    history(sessionKey: string): Promise<unknown>;
    describe(sessionKey: string): Promise<unknown>;
    reset(sessionKey: string): Promise<unknown>;
    compact(sessionKey: string): Promise<unknown>;
    delete(sessionKey: string): Promise<unknown>;
    subscribeMessages(
      sessionKey: string,
      handler: (event: { readonly event: string; readonly payload: object }) => void,
    ): Promise<{ unsubscribe(): Promise<void> }>;
  };
  agentWait(runId: string, options?: { readonly timeoutMs?: number }): Promise<{ readonly status: string }>;
  on(event: "pairingRequired", listener: (event: { readonly requestId?: string; readonly reason?: string }) => void): void;
  on(event: "error" | "connected", listener: (event: unknown) => void): void;
}

interface Library {
  readonly OpenClawClient: new (options: object) => Client;
}

export function openclawNodeFlows(version: string): readonly Flow[] {
  const flows: Readonly<Record<string, (rig: Rig) => Promise<Passed>>> = {
    "connect, health and agents": readGateway,
    "chat, streamed": streamChat,
    "chat with a tool": streamTools,
    "history and sessions": readSessions,
    "messages of a session": hearMessages,
    "wait for a run": waitForRun,
    abort: abortChat,
    "pairingRequired names the request": readPairingRequired,
  };
  return Object.entries(flows).map(([name, run]) => ({ client, version, name, run }));
}

interface Opened extends AsyncDisposable {
  readonly client: Client;
  readonly sessionKey: string;
}

async function make(rig: Rig, folder: string, options: object = {}): Promise<Client> {
  const { OpenClawClient } = await loadLibrary<Library>(client);
  const { url, token } = rig.gateway;
  const made = new OpenClawClient({ url, token, deviceIdentityPath: join(folder, "device.json"), autoReconnect: false, ...options });
  made.on("error", () => undefined);
  return made;
}

async function open(rig: Rig): Promise<Opened> {
  const made = await make(rig, await rig.folder());
  await made.connect();
  return { client: made, sessionKey: `agent:main:${randomUUID()}`, [Symbol.asyncDispose]: () => made.disconnect() };
}

async function readGateway(rig: Rig): Promise<Passed> {
  await using opened = await open(rig);

  equal((await opened.client.health())["ok"], true);
  deepEqual(
    (await opened.client.agents.list()).agents.map(({ id }) => id),
    ["main"],
  );
  ok(opened.client.hasMethod("chat.send"));
  return passed;
}

async function streamChat(rig: Rig): Promise<Passed> {
  await using opened = await open(rig);
  const chunks = await Array.fromAsync(opened.client.chat(sayScript("ahoy from a bot"), { sessionKey: opened.sessionKey }));

  match(
    chunks
      .filter(({ type }) => type === "text")
      .map(({ text }) => text)
      .join(""),
    /^ahoy from a bot/,
  );
  equal(chunks.at(-1)?.type, "done");
  match(await opened.client.chatSync(sayScript("ahoy at once"), { sessionKey: opened.sessionKey }), /^ahoy at once/);
  return passed;
}

async function streamTools(rig: Rig): Promise<Passed> {
  await using opened = await open(rig);
  const steps = [{ call: [{ tool: "ls", args: {} }] }, { say: "looked" }];
  const chunks = await Array.fromAsync(opened.client.chat(`@script ${JSON.stringify(steps)}`, { sessionKey: opened.sessionKey }));

  match(
    chunks
      .filter(({ type }) => type === "text")
      .map(({ text }) => text)
      .join(""),
    /looked/,
  );
  ok(!chunks.some(({ type }) => type === "error"));
  return passed;
}

async function readSessions(rig: Rig): Promise<Passed> {
  await using opened = await open(rig);
  const { client: made, sessionKey } = opened;
  await made.chatSync(sayScript("ahoy for the record"), { sessionKey });

  match(JSON.stringify(await made.sessions.history(sessionKey)), /ahoy for the record/);
  match(JSON.stringify(await made.sessions.list()), new RegExp(sessionKey));
  match(JSON.stringify(await made.sessions.describe(sessionKey)), new RegExp(sessionKey));
  // To empty or remove a conversation takes more than this client ever asks for.
  for (const method of ["reset", "compact", "delete"] as const) {
    const refusal: unknown = await made.sessions[method](sessionKey).then(
      () => undefined,
      (error: unknown) => error,
    );
    match(String(getRecord(refusal, "the refusal")["message"]), /missing scope: operator\./);
  }
  return passed;
}

async function hearMessages(rig: Rig): Promise<Passed> {
  await using opened = await open(rig);
  const { client: made, sessionKey } = opened;
  await made.chatSync(sayScript("first"), { sessionKey });
  const heard: string[] = [];
  const isHeard = Promise.withResolvers<void>();
  const { unsubscribe } = await made.sessions.subscribeMessages(sessionKey, (event) => {
    heard.push(event.event);
    if (event.event === "session.message" && JSON.stringify(event.payload).includes("ahoy to all")) isHeard.resolve();
  });
  await made.chatSync(sayScript("ahoy to all"), { sessionKey });
  await isHeard.promise;
  await unsubscribe();

  ok(heard.includes("agent"));
  return passed;
}

async function waitForRun(rig: Rig): Promise<Passed> {
  await using opened = await open(rig);
  const params = { message: sayScript("ahoy in the end"), sessionKey: opened.sessionKey, idempotencyKey: randomUUID() };
  await opened.client.request("chat.send", params);

  equal((await opened.client.agentWait(params.idempotencyKey, { timeoutMs: 20_000 })).status, "ok");
  return passed;
}

async function abortChat(rig: Rig): Promise<Passed> {
  await using opened = await open(rig);
  const idempotencyKey = randomUUID();
  await opened.client.request("chat.send", { message: '@script [{"hang":true}]', sessionKey: opened.sessionKey, idempotencyKey });

  deepEqual(await opened.client.chatAbort(opened.sessionKey), { ok: true, aborted: true, runIds: [idempotencyKey] });
  return passed;
}

/** It reads the request's id from the reason of the close and nowhere else, and comes back by itself. */
async function readPairingRequired(rig: Rig): Promise<Passed> {
  const folder = await rig.folder();
  const narrow = await make(rig, folder, { scopes: ["operator.read"] });
  await narrow.connect();
  await narrow.disconnect();
  const wide = await make(rig, folder, { autoReconnect: true, reconnectIntervalMs: 50, maxReconnectAttempts: 1_000 });
  const required = new Promise<{ readonly requestId?: string }>((resolve) => wide.on("pairingRequired", resolve));
  const connected = new Promise<void>((resolve) => wide.on("connected", () => resolve()));
  await wide.connect().then(
    () => Promise.reject(new Error("it was let in")),
    () => undefined,
  );
  try {
    const { requestId } = await required;
    if (requestId === undefined) throw new Error("pairingRequired names no request");
    await rig.approve(requestId);
    await connected;
  } finally {
    await wide.disconnect();
  }
  return { upgrade: "cured" };
}

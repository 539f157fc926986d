/** The reference's client library, in this process. */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { generateKeyPairSync, createHash, createPrivateKey, createPublicKey, randomUUID, sign } from "node:crypto";
import { type Flow, getRecord, passed, type Passed, sayScript } from "../flow.ts";
import { loadLibrary } from "../installation.ts";
import type { Rig } from "../rig.ts";

const client = "@openclaw/gateway-client";

interface EventFrame {
  readonly event: string;
  readonly seq?: number;
  readonly payload?: Readonly<Record<string, unknown>>;
}

interface Hello {
  readonly protocol: number;
  readonly auth: { readonly method: string; readonly scopes: readonly string[]; readonly deviceToken?: string };
}

interface Identity {
  readonly deviceId: string;
  readonly privateKeyPem: string;
  readonly publicKeyPem: string;
}

interface Options {
  readonly url: string;
  readonly token?: string;
  readonly scopes?: readonly string[];
  readonly caps?: readonly string[];
  readonly deviceIdentity?: Identity;
  readonly hostDeps?: object;
  readonly onHelloOk: (hello: Hello) => void;
  readonly onConnectError: (error: Error) => void;
  readonly onEvent: (event: EventFrame) => void;
  readonly onGap: (gap: object) => void;
}

interface Client {
  start(): void;
  stopAndWait(): Promise<void>;
  request<T>(
    method: string,
    params?: object,
    options?: { readonly expectFinal?: boolean; readonly onAccepted?: (payload: unknown) => void },
  ): Promise<T>;
}

interface Library {
  readonly GatewayClient: new (options: Options) => Client;
}

export function gatewayClientFlows(version: string): readonly Flow[] {
  const flows: Readonly<Record<string, (rig: Rig) => Promise<Passed>>> = {
    "connect without a device": connectWithoutDevice,
    "pair, then come back by the device token alone": comeBackByToken,
    "a scope upgrade is refused, then approved": upgradeScopes,
    "chat events, in order and without a gap": hearChat,
    abort: abortChat,
    "agent: accepted, then final": runAgent,
    "typed errors": readErrors,
  };
  return Object.entries(flows).map(([name, run]) => ({ client, version, name, run }));
}

interface Opened extends AsyncDisposable {
  readonly hello: Hello;
  readonly request: Client["request"];
  readonly events: readonly EventFrame[];
  readonly gaps: readonly object[];
  /** The first event, past or future, that fits. */
  event(fits: (event: EventFrame) => boolean): Promise<EventFrame>;
}

/** @throws What the library said of a refused connect. */
async function open({ gateway }: Rig, options: Partial<Options>): Promise<Opened> {
  const { GatewayClient } = await loadLibrary<Library>(client);
  const events: EventFrame[] = [];
  const gaps: object[] = [];
  const waiting = new Set<() => void>();
  const connected = Promise.withResolvers<Hello>();
  const made = new GatewayClient({
    url: gateway.url,
    ...options,
    onHelloOk: connected.resolve,
    onConnectError: connected.reject,
    onEvent: (event) => {
      events.push(event);
      waiting.forEach((look) => look());
    },
    onGap: (gap) => void gaps.push(gap),
  });
  made.start();
  const stop = (): Promise<void> => made.stopAndWait();
  const hello = await connected.promise.catch(async (error: unknown) => {
    await stop();
    throw error;
  });
  return {
    hello,
    request: (...args) => made.request(...args),
    events,
    gaps,
    event: (fits) =>
      new Promise((resolve) => {
        const look = (): void => {
          const found = events.find(fits);
          if (found === undefined) return;
          waiting.delete(look);
          resolve(found);
        };
        waiting.add(look);
        look();
      }),
    [Symbol.asyncDispose]: stop,
  };
}

function createIdentity(): Identity {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const raw = Buffer.from(publicKey.export({ format: "jwk" }).x ?? "", "base64url");
  return {
    deviceId: createHash("sha256").update(raw).digest("hex"),
    privateKeyPem: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
    publicKeyPem: publicKey.export({ type: "spki", format: "pem" }).toString(),
  };
}

/** What the library wants of whoever embeds it; `tokens`: where it keeps what the gateway gave the device. */
function createHost(tokens: Map<string, { readonly token: string; readonly scopes: readonly string[] }>): object {
  return {
    signDevicePayload: (pem: string, payload: string) => sign(null, Buffer.from(payload), createPrivateKey(pem)).toString("base64url"),
    publicKeyRawBase64UrlFromPem: (pem: string) => createPublicKey(pem).export({ format: "jwk" }).x,
    loadDeviceAuthToken: ({ role }: { role: string }) => tokens.get(role) ?? null,
    storeDeviceAuthToken: ({ role, token, scopes }: { role: string; token: string; scopes: string[] }) =>
      void tokens.set(role, { token, scopes }),
    clearDeviceAuthToken: ({ role }: { role: string }) => void tokens.delete(role),
  };
}

const write = ["operator.read", "operator.write"];

async function connectWithoutDevice(rig: Rig): Promise<Passed> {
  await using opened = await open(rig, { token: rig.gateway.token, scopes: write });

  deepEqual([opened.hello.protocol, opened.hello.auth.method, opened.hello.auth.scopes], [4, "token", write]);
  equal((await opened.request<{ ok: boolean }>("health")).ok, true);
  return passed;
}

async function comeBackByToken(rig: Rig): Promise<Passed> {
  const [deviceIdentity, tokens] = [createIdentity(), new Map()];
  const device = { deviceIdentity, hostDeps: createHost(tokens), scopes: write };
  {
    await using first = await open(rig, { ...device, token: rig.gateway.token });
    ok(first.hello.auth.deviceToken !== undefined);
  }
  await using second = await open(rig, device);

  equal(second.hello.auth.method, "device-token");
  await second.request("sessions.list");
  return passed;
}

async function upgradeScopes(rig: Rig): Promise<Passed> {
  const device = { deviceIdentity: createIdentity(), hostDeps: createHost(new Map()), token: rig.gateway.token };
  await (await open(rig, { ...device, scopes: ["operator.read"] }))[Symbol.asyncDispose]();
  const refusal: unknown = await open(rig, { ...device, scopes: write }).catch((error: unknown) => error);
  const details = getRecord(getRecord(refusal, "the refusal")["details"], "its details");
  deepEqual([details["code"], details["reason"]], ["PAIRING_REQUIRED", "scope-upgrade"]);
  match(String(details["remediationHint"]), new RegExp(`\\./portreeve devices approve ${String(details["requestId"])}`));

  await rig.approve(String(details["requestId"]));
  await using upgraded = await open(rig, { ...device, scopes: write });

  deepEqual(upgraded.hello.auth.scopes, write);
  return { upgrade: "cured" };
}

async function hearChat(rig: Rig): Promise<Passed> {
  await using opened = await open(rig, { token: rig.gateway.token, scopes: write, caps: ["tool-events"] });
  const sessionKey = `agent:main:${randomUUID()}`;
  await opened.request("sessions.subscribe", {});
  const { runId } = await opened.request<{ runId: string }>("chat.send", {
    sessionKey,
    message: sayScript("ahoy from a library"),
    idempotencyKey: randomUUID(),
  });
  const final = await opened.event(
    ({ event, payload }) => event === "chat" && payload?.["runId"] === runId && payload["state"] === "final",
  );

  match(JSON.stringify(final.payload), /ahoy from a library/);
  const ofRun = opened.events
    .filter(({ event, payload }) => event === "chat" && payload?.["runId"] === runId)
    .map(({ payload }) => payload);
  ok(ofRun.some((payload) => payload?.["state"] === "delta" && typeof payload["deltaText"] === "string"));
  const orders = ofRun.map((payload) => Number(payload?.["seq"]));
  deepEqual(
    orders,
    orders.toSorted((a, b) => a - b),
  );
  ok(opened.events.some(({ event }) => event === "agent") && opened.events.some(({ event }) => event === "sessions.changed"));
  deepEqual(opened.gaps, []);
  const seqs = opened.events.flatMap(({ seq }) => (seq === undefined ? [] : [seq]));
  deepEqual(
    seqs,
    seqs.map((_, index) => (seqs[0] ?? 0) + index),
  );
  return passed;
}

async function abortChat(rig: Rig): Promise<Passed> {
  await using opened = await open(rig, { token: rig.gateway.token, scopes: write });
  const sessionKey = `agent:main:${randomUUID()}`;
  const { runId } = await opened.request<{ runId: string }>("chat.send", {
    sessionKey,
    message: '@script [{"hang":true}]',
    idempotencyKey: randomUUID(),
  });
  await opened.event(({ event, payload }) => event === "agent" && payload?.["runId"] === runId);
  const first = await opened.request<object>("chat.abort", { sessionKey, runId });
  await opened.event(({ event, payload }) => event === "chat" && payload?.["runId"] === runId && payload["state"] === "aborted");
  const second = await opened.request<object>("chat.abort", { sessionKey, runId });

  deepEqual(
    [first, second],
    [
      { ok: true, aborted: true, runIds: [runId] },
      { ok: true, aborted: false, runIds: [] },
    ],
  );
  return passed;
}

async function runAgent(rig: Rig): Promise<Passed> {
  await using opened = await open(rig, { token: rig.gateway.token, scopes: write });
  const accepted: unknown[] = [];
  const params = { message: sayScript("ahoy twice"), sessionKey: `agent:main:${randomUUID()}`, idempotencyKey: randomUUID() };
  const final = await opened.request<{ status: string; result: object }>("agent", params, {
    expectFinal: true,
    onAccepted: (payload) => void accepted.push(payload),
  });

  equal(getRecord(accepted[0], "the first answer")["status"], "accepted");
  equal(final.status, "ok");
  match(JSON.stringify(final.result), /ahoy twice/);
  return passed;
}

async function readErrors(rig: Rig): Promise<Passed> {
  await using reader = await open(rig, { token: rig.gateway.token, scopes: ["operator.read"] });
  await using admin = await open(rig, { token: rig.gateway.token, scopes: ["operator.admin"] });
  const codeOf = async (asked: Promise<unknown>): Promise<readonly unknown[]> => {
    const error = getRecord(
      await asked.then(
        () => undefined,
        (caught: unknown) => caught,
      ),
      "the error",
    );
    const { code } = getRecord(error["details"] ?? {}, "its details");
    return [error["gatewayCode"], String(error["message"]), code];
  };

  deepEqual(await codeOf(reader.request("chat.send", {})), ["FORBIDDEN", "missing scope: operator.write", "MISSING_SCOPE"]);
  deepEqual((await codeOf(admin.request("no.such.method"))).slice(0, 2), ["INVALID_REQUEST", "unknown method: no.such.method"]);
  const [code, message] = await codeOf(reader.request("sessions.list", { limit: "many" }));
  equal(code, "INVALID_REQUEST");
  match(String(message), /^invalid sessions\.list params: at \/limit: must be /);
  return passed;
}

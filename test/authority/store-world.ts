/** The same events through the real thing: pairing, its store and the runs' in SQLite, real keys, a clock of its own. */
import { createSecretKey } from "node:crypto";
import { connectProofText, createDeviceKey } from "@portreeve/client";
import { methods, parseSetupCode, ProtocolError } from "@portreeve/protocol";
import { Kysely } from "kysely";
import { Bus } from "../../packages/gateway/src/bus.ts";
import { createAttempts } from "../../packages/gateway/src/identity/attempts.ts";
import { createCredentials } from "../../packages/gateway/src/identity/credentials.ts";
import { type AdmissionAsk, createPairing, type Pairing } from "../../packages/gateway/src/identity/pairing.ts";
import { createDeviceManager, type DeviceManager } from "../../packages/gateway/src/identity/device-management.ts";
import { createSetupCodes, type SetupCodes } from "../../packages/gateway/src/identity/setup-codes.ts";
import type { Clock } from "../../packages/gateway/src/kit/clock.ts";
import { createIds } from "../../packages/gateway/src/kit/ids.ts";
import { Secret } from "../../packages/gateway/src/kit/secret.ts";
import {
  secretPrincipal,
  authorityToStart,
  permits,
  type Principal,
  runPrincipal,
} from "../../packages/gateway/src/principal/principal.ts";
import { createDialect, openDatabase } from "../../packages/gateway/src/store/sql/dialect.ts";
import { migrate } from "../../packages/gateway/src/store/sql/migrate.ts";
import { createStore } from "../../packages/gateway/src/store/sqlite.ts";
import type { Database } from "../../packages/gateway/src/store/sql/schema.ts";
import type { RunRecord, Store } from "../../packages/gateway/src/store/store.ts";
import { spawn } from "../../packages/gateway/src/subagents/spawn.ts";
import { attachmentsOff, noAttachments } from "../support/no-attachments.ts";
import { type ConnectAsk, deviceCount, type Role } from "./actions.ts";
import { maxDepth } from "./model-runs.ts";
import type { ManagingMethod, Request, StartedRun, Verdict, World } from "./world.ts";

/** Sees every device. */
const lister = secretPrincipal(["operator.admin"]);

const secret = "the-secret";
const tokenKey = createSecretKey(Buffer.alloc(32, 7));
const nonce = "f8d18954-6f97-40cc-a216-6307a87653e8";
const silent = { debug: ignore, info: ignore, warn: ignore, error: ignore };
const peers = {
  local: { address: "127.0.0.1", directLoopback: true, hasOrigin: false },
  "local page": { address: "127.0.0.1", directLoopback: true, hasOrigin: true },
  remote: { address: "192.0.2.7", directLoopback: false, hasOrigin: false },
} as const;

export interface StoreWorld extends World, AsyncDisposable {
  /** The audit chain holds: nothing was granted beside it. */
  findAuditBreak(): Promise<number | undefined>;
}

/** An empty database of the newest schema, which every world begins with a copy of: to migrate takes longer than a life. */
export async function createEmptyDatabase(): Promise<Uint8Array> {
  const raw = openDatabase(":memory:");
  const db = new Kysely<Database>({ dialect: createDialect(raw) });
  await migrate(db);
  const empty = raw.serialize();
  await db.destroy();
  return empty;
}

/** A world on a store in memory, which outlives its restarts. */
export function openStoreWorld(empty: Uint8Array): StoreWorld {
  const raw = openDatabase(":memory:");
  raw.deserialize(empty);
  const store = createStore(raw, createIds());
  const keys = Array.from({ length: deviceCount }, () => createDeviceKey());
  const tokens = new Map<string, string>();
  const runs = createRuns(store, () => nowMs);
  let [nowMs, autoApproveLocal] = [1_795_435_000_000, true];
  // A refusal that is held back comes at once: time stands still here.
  const clock = { now: () => nowMs, schedule: (_atMs: number, task: () => void) => (queueMicrotask(task), { [Symbol.dispose]: ignore }) };
  const open = (): Identity => openIdentity(store, { clock, autoApproveLocal });
  let { pairing, manager, setupCodes } = open();
  const reopen = (): void => void ({ pairing, manager, setupCodes } = open());
  const indexOf = (deviceId: string): number => keys.findIndex((key) => key.id === deviceId);
  /** As dispatch does it; undefined: refused. */
  const ask = async <T>(method: ManagingMethod, by: Principal, handle: () => Promise<T>): Promise<T | undefined> =>
    permits(by, method, methods[method], {}).kind === "permitted" ? handle().catch(toRefusal) : undefined;
  const learn = (deviceId: string, role: Role, token: Secret | undefined): void =>
    void (token !== undefined && tokens.set(`${indexOf(deviceId)} ${role}`, token.reveal()));

  return {
    ...runs,
    async connect(connecting) {
      const tokenName = `${connecting.device} ${connecting.role}`;
      const key = connecting.device === undefined ? undefined : keys[connecting.device];
      const verdict = await pairing.authenticate(toAdmissionAsk(connecting, { key, nowMs, token: tokens.get(tokenName) ?? "none" }));
      if (verdict.kind === "admitted") {
        const { grant, principal, endsInMs } = verdict.admission;
        if (grant !== undefined) tokens.set(tokenName, grant.token.reveal());
        return { kind: "admitted", principal, endsInMs };
      }
      const requestId = verdict.error.details["requestId"];
      const record = (await pairing.list(lister)).pending.find((one) => one.requestId === requestId);
      return record === undefined ? { kind: "refused" } : toPending({ ...record, device: indexOf(record.deviceId) });
    },
    approve: async (requestId, by, minutes) =>
      (await ask("device.pair.approve", by, () => pairing.approve(requestId, by, minutes))) !== undefined,
    reject: async (requestId, by) => (await ask("device.pair.reject", by, () => pairing.reject(requestId, by))) !== undefined,
    ...managing({ identity: () => ({ pairing, manager, setupCodes }), keys, ask, learn, now: () => nowMs }),
    restart: reopen,
    configure(on) {
      autoApproveLocal = on;
      reopen();
    },
    wait: (ms) => void (nowMs += ms),
    async grants() {
      const { paired } = await pairing.list(lister);
      return paired
        .flatMap((device) =>
          device.grants
            .filter(({ revokedAtMs }) => revokedAtMs === undefined)
            .map(({ role, scopes }) => ({ device: indexOf(device.deviceId), role, scopes })),
        )
        .sort((a, b) => a.device - b.device);
    },
    findAuditBreak: () => store.audit.findBreak(),
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
}

interface Managed {
  readonly identity: () => Identity;
  readonly keys: readonly ReturnType<typeof createDeviceKey>[];
  readonly ask: <T>(method: ManagingMethod, by: Principal, handle: () => Promise<T>) => Promise<T | undefined>;
  readonly learn: (deviceId: string, role: Role, token: Secret | undefined) => void;
  readonly now: () => number;
}

function managing({ identity, keys, ask, learn, now }: Managed): Pick<World, "rotate" | "revoke" | "remove" | "invite" | "present"> {
  const codes: string[] = [];
  const asked = { connId: undefined, signal: new AbortController().signal };
  const idOf = (device: number): string => keys[device]?.id ?? "none";
  return {
    async rotate({ device, role }, scopes, by) {
      const subject = { deviceId: idOf(device), role, scopes };
      const rotated = await ask("device.token.rotate", by, () => identity().manager.rotateToken(subject, by, asked));
      // Whoever else gets it cannot sign with the device's key.
      if (by.kind === "device" && by.deviceId === subject.deviceId) learn(subject.deviceId, role, rotated?.token);
      return rotated?.scopes;
    },
    revoke: async ({ device, role }, by) =>
      (await ask("device.token.revoke", by, () => identity().manager.revokeToken({ deviceId: idOf(device), role }, by, asked)))
        ?.cancelledRuns,
    remove: async (device, by) =>
      (await ask("device.pair.remove", by, () => identity().manager.remove(idOf(device), by, asked)))?.cancelledRuns,
    async invite(asking, by) {
      const url = "ws://127.0.0.1:1";
      const issued = await ask("device.pair.setupCode", by, () => identity().setupCodes.issue({ ...asking, minutes: undefined, url }, by));
      if (issued !== undefined) codes.push(parseSetupCode(issued.setupCode)?.bootstrapToken ?? "");
      return issued?.scopes;
    },
    async present(code, { device, role }, scopes) {
      const plain = { device, role, scopes, credential: "secret", peer: "local", isChanged: false } as const;
      const presented = { key: keys[device], nowMs: now(), token: "none", bootstrapToken: codes[code] ?? "none" };
      const verdict = await identity().setupCodes.authenticate(toAdmissionAsk(plain, presented));
      if (verdict.kind === "refused") return { kind: "refused" };
      const { grant, principal, endsInMs } = verdict.admission;
      learn(idOf(device), role, grant?.token);
      return { kind: "admitted", principal, endsInMs };
    },
  };
}

interface Identity {
  readonly pairing: Pairing;
  readonly manager: DeviceManager;
  readonly setupCodes: SetupCodes;
}

function openIdentity(store: Store, options: { readonly clock: Clock; readonly autoApproveLocal: boolean }): Identity {
  const { clock } = options;
  const credentials = createCredentials({ secret: new Secret(secret), tokenKey, gatewayId: "aa".repeat(32) });
  const attempts = createAttempts({ store: store.attempts, clock: options.clock });
  const deps = { store: store.devices, credentials, attempts, log: silent, bus: new Bus(), ...options };
  const cancelRuns: Parameters<typeof createDeviceManager>[0]["cancelRuns"] = (select) => store.runs.cancel(select, new Map(), clock.now());
  return {
    pairing: createPairing({ ...deps, authMode: "token" }),
    manager: createDeviceManager({ ...deps, expel: () => Promise.resolve(), cancelRuns }),
    setupCodes: createSetupCodes({ ...deps, store: store.setupCodes }),
  };
}

/** Runs as the handlers admit them, at once claimed, so that they may spawn. */
function createRuns(store: Store, now: () => number): Pick<World, "start" | "spawn" | "abort"> {
  let made = 0;
  const times = { runTimeoutSeconds: 0, runTimeoutMinSeconds: 0, forkMaxBytes: 0, runTimeoutMaxSeconds: 0, attachments: attachmentsOff };
  const limits = { maxSpawnDepth: maxDepth, maxChildrenPerAgent: 100, ...times };
  const models = {
    modelOf: () => "scripted/echo",
    problemWithModel: () => undefined,
    isPriced: () => true,
    problemWithThinking: () => Promise.resolve(undefined),
  };
  const agents = { defaultAgentId: "main", isAgent: () => true, toolNamesOf: () => [], ...models };
  const begin = async (run: RunRecord): Promise<StartedRun> => {
    await store.runs.claim(
      { owner: "w", leaseMs: 1, limit: 100, maxConcurrentChildren: 100, quote: () => "", maxTakeovers: Infinity },
      now(),
    );
    return { authority: run.authority, principal: runPrincipal(run) };
  };
  return {
    async start(by, inSessionOf) {
      if (permits(by, "agent", methods.agent, {}).kind !== "permitted") return undefined;
      made += 1;
      const admission = await store.runs.admit(
        {
          sessionKey: inSessionOf?.sessionKey ?? `agent:main:s${made}`,
          agentId: "main",
          wireId: `k${made}`,
          input: "go",
          label: undefined,
          defaultModel: "scripted/echo",
          authority: authorityToStart(by),
          startedBy: by.id,
          timeoutMs: undefined,
          paramsHash: "",
          queueMode: "followup",
        },
        now(),
      );
      return admission.kind === "admitted" ? begin(admission.run) : undefined;
    },
    async abort(by, { sessionKey }) {
      if (permits(by, "chat.abort", methods["chat.abort"], {}).kind !== "permitted") return undefined;
      return (await store.runs.cancel({ sessionKey }, new Map(), now())).length;
    },
    async spawn(by) {
      if (permits(by, "subagents.spawn", methods["subagents.spawn"], {}).kind !== "permitted") return undefined;
      made += 1;
      const params = { task: "look", idempotencyKey: `k${made}` };
      return spawn(
        { store, limits, attachments: noAttachments, ...agents, spawnRun: (child) => store.runs.spawn(child, now()) },
        by,
        params,
      ).then(
        ({ run }) => begin(run),
        () => undefined,
      );
    },
  };
}

interface Presented {
  readonly key: ReturnType<typeof createDeviceKey> | undefined;
  readonly nowMs: number;
  readonly token: string;
  readonly bootstrapToken?: string;
}

function toAdmissionAsk(ask: ConnectAsk, { key, nowMs, token, bootstrapToken }: Presented): AdmissionAsk {
  const { role, scopes, credential } = ask;
  const client = { id: "cli", mode: "cli", version: "1", platform: ask.isChanged ? "windows" : "linux" } as const;
  const auth: NonNullable<AdmissionAsk["connect"]["auth"]> =
    bootstrapToken !== undefined
      ? { bootstrapToken }
      : credential === "device token"
        ? { deviceToken: token }
        : { token: credential === "secret" ? secret : "wrong" };
  const proof = { clientId: client.id, clientMode: client.mode, role, scopes, signedAt: nowMs, nonce, platform: client.platform };
  const signed = auth.token ?? auth.deviceToken ?? auth.bootstrapToken ?? "";
  const device = key && {
    id: key.id,
    publicKey: key.publicKey,
    signature: key.sign(connectProofText(key, { ...proof, token: signed })),
    nonce,
    signedAt: nowMs,
  };
  const connect = { minProtocol: 4, maxProtocol: 4, client, role, scopes: [...scopes], auth, ...(device && { device }) };
  return { connect, role, nonce, peer: peers[ask.peer] };
}

function toPending({ requestId, device, roles, scopes }: Request): Verdict {
  return { kind: "pending", request: { requestId, device, roles, scopes } };
}

/** Nothing but what a caller may be told is a refusal. */
function toRefusal(error: unknown): undefined {
  if (!(error instanceof ProtocolError)) throw error;
}

function ignore(): void {}

/** The same events through the real thing: pairing, its store and the runs' in SQLite, real keys, a clock of its own. */
import { connectProofText, createDeviceKey } from "@portreeve/client";
import { methods, parseSetupCode } from "@portreeve/protocol";
import { Kysely } from "kysely";
import type { AdmissionAsk } from "../../packages/gateway/src/identity/pairing.ts";
import { createIds } from "../../packages/gateway/src/kit/ids.ts";
import type { Secret } from "../../packages/gateway/src/kit/secret.ts";
import { permits, type Principal, secretPrincipal } from "../../packages/gateway/src/principal/principal.ts";
import type { DeviceRecord } from "../../packages/gateway/src/store/device-store.ts";
import { createDialect, openDatabase } from "../../packages/gateway/src/store/sql/dialect.ts";
import { migrate } from "../../packages/gateway/src/store/sql/migrate.ts";
import { createStore } from "../../packages/gateway/src/store/sqlite.ts";
import type { Database } from "../../packages/gateway/src/store/sql/schema.ts";
import { type ConnectAsk, deviceCount, type Role } from "./actions.ts";
import { StoreLife, secret } from "./store-life.ts";
import { StoreRuns, toRefusal } from "./store-runs.ts";
import type { ManagingMethod, Request, Verdict, World } from "./world.ts";

/** Sees every device. */
const lister = secretPrincipal(["operator.admin"]);

const nonce = "f8d18954-6f97-40cc-a216-6307a87653e8";
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
  const life = new StoreLife(store);
  const runs = new StoreRuns(store, { now: () => life.clock.now(), settings: () => life.settings });
  const move = async (ms: number, passedMs: number): Promise<readonly string[]> => {
    await life.move(ms, passedMs);
    return runs.expire();
  };
  const indexOf = (deviceId: string): number => keys.findIndex((key) => key.id === deviceId);
  /** As dispatch does it; undefined: refused. */
  const ask = async <T>(method: ManagingMethod, by: Principal, handle: () => Promise<T>): Promise<T | undefined> =>
    permits(by, method, methods[method], {}).kind === "permitted" ? handle().catch(toRefusal) : undefined;
  const learn = (deviceId: string, role: Role, token: Secret | undefined): void =>
    void (token !== undefined && tokens.set(`${indexOf(deviceId)} ${role}`, token.reveal()));

  return {
    start: (by, ask) => runs.start(by, ask),
    spawn: (by, ask) => runs.spawn(by, ask),
    steer: (by, run) => runs.steer(by, run),
    abort: (by, run) => runs.abort(by, run),
    toolsOf: (run) => runs.toolsOf(run),
    async connect(connecting) {
      const { pairing } = life.identity;
      const tokenName = `${connecting.device} ${connecting.role}`;
      const key = connecting.device === undefined ? undefined : keys[connecting.device];
      const verdict = await pairing.authenticate(
        toAdmissionAsk(connecting, { key, nowMs: life.machine.now(), token: tokens.get(tokenName) ?? "none" }),
      );
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
      (await ask("device.pair.approve", by, () => life.identity.pairing.approve(requestId, by, minutes))) !== undefined,
    reject: async (requestId, by) => (await ask("device.pair.reject", by, () => life.identity.pairing.reject(requestId, by))) !== undefined,
    ...managing({ life, keys, ask, learn }),
    restart: () => life.reopen(life.settings),
    configure: (settings) => life.reopen(settings),
    wait: (ms) => move(ms, ms),
    setClock: (byMs) => move(byMs, 0),
    grants: async () => toGrants((await life.identity.pairing.list(lister)).paired, indexOf),
    findAuditBreak: () => store.audit.findBreak(),
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
}

/** What stands written and is not revoked. */
function toGrants(paired: readonly DeviceRecord[], indexOf: (deviceId: string) => number) {
  const grants = paired.flatMap((device) => {
    const live = device.grants.filter(({ revokedAtMs }) => revokedAtMs === undefined);
    return live.map(({ role, scopes }) => ({ device: indexOf(device.deviceId), role, scopes }));
  });
  return grants.sort((a, b) => a.device - b.device);
}

interface Managed {
  readonly life: StoreLife;
  readonly keys: readonly ReturnType<typeof createDeviceKey>[];
  readonly ask: <T>(method: ManagingMethod, by: Principal, handle: () => Promise<T>) => Promise<T | undefined>;
  readonly learn: (deviceId: string, role: Role, token: Secret | undefined) => void;
}

function managing({ life, keys, ask, learn }: Managed): Pick<World, "rotate" | "revoke" | "remove" | "invite" | "present"> {
  const codes: string[] = [];
  const asked = { connId: undefined, signal: new AbortController().signal };
  const idOf = (device: number): string => keys[device]?.id ?? "none";
  return {
    async rotate({ device, role }, scopes, by) {
      const subject = { deviceId: idOf(device), role, scopes };
      const rotated = await ask("device.token.rotate", by, () => life.identity.manager.rotateToken(subject, by, asked));
      // Whoever else gets it cannot sign with the device's key.
      if (by.kind === "device" && by.deviceId === subject.deviceId) learn(subject.deviceId, role, rotated?.token);
      return rotated?.scopes;
    },
    revoke: async ({ device, role }, by) =>
      (await ask("device.token.revoke", by, () => life.identity.manager.revokeToken({ deviceId: idOf(device), role }, by, asked)))
        ?.cancelledRuns,
    remove: async (device, by) =>
      (await ask("device.pair.remove", by, () => life.identity.manager.remove(idOf(device), by, asked)))?.cancelledRuns,
    async invite(asking, by) {
      const url = "ws://127.0.0.1:1";
      const issued = await ask("device.pair.setupCode", by, () =>
        life.identity.setupCodes.issue({ ...asking, minutes: undefined, url }, by),
      );
      if (issued !== undefined) codes.push(parseSetupCode(issued.setupCode)?.bootstrapToken ?? "");
      return issued?.scopes;
    },
    async present(code, { device, role }, scopes) {
      const plain = { device, role, scopes, credential: "secret", peer: "local", isChanged: false } as const;
      const presented = { key: keys[device], nowMs: life.machine.now(), token: "none", bootstrapToken: codes[code] ?? "none" };
      const verdict = await life.identity.setupCodes.authenticate(toAdmissionAsk(plain, presented));
      if (verdict.kind === "refused") return { kind: "refused" };
      const { grant, principal, endsInMs } = verdict.admission;
      learn(idOf(device), role, grant?.token);
      return { kind: "admitted", principal, endsInMs };
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

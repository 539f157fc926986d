/** The same events through the real thing: pairing, its store and the runs' in SQLite, real keys, a clock of its own. */
import { createSecretKey } from "node:crypto";
import { connectProofText, createDeviceKey } from "@portreeve/client";
import { methods } from "@portreeve/protocol";
import { Bus } from "../../packages/gateway/src/bus.ts";
import { createAttempts } from "../../packages/gateway/src/identity/attempts.ts";
import { createCredentials } from "../../packages/gateway/src/identity/credentials.ts";
import { type AdmissionAsk, createPairing, type Pairing } from "../../packages/gateway/src/identity/pairing.ts";
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
import { openStoreFile } from "../../packages/gateway/src/store/sqlite.ts";
import type { RunRecord, Store } from "../../packages/gateway/src/store/store.ts";
import { spawn } from "../../packages/gateway/src/subagents/spawn.ts";
import { type ConnectAsk, deviceCount } from "./actions.ts";
import { maxDepth } from "./model-world.ts";
import type { Request, StartedRun, Verdict, World } from "./play.ts";

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

/** A world on a store in memory, which outlives its restarts. */
export async function openStoreWorld(): Promise<StoreWorld> {
  const store = await openStoreFile(":memory:", createIds());
  const keys = Array.from({ length: deviceCount }, () => createDeviceKey());
  const tokens = new Map<string, string>();
  const runs = createRuns(store, () => nowMs);
  let [nowMs, autoApproveLocal] = [1_795_435_000_000, true];
  // A refusal that is held back comes at once: time stands still here.
  const clock = { now: () => nowMs, schedule: (_atMs: number, task: () => void) => (queueMicrotask(task), { [Symbol.dispose]: ignore }) };
  const open = (): Pairing => openPairing(store, { clock, autoApproveLocal });
  let pairing = open();
  const indexOf = (deviceId: string): number => keys.findIndex((key) => key.id === deviceId);
  const decide = async (name: "approve" | "reject", requestId: string, by: Principal): Promise<boolean> => {
    const method = `device.pair.${name}` as const;
    if (permits(by, method, methods[method], { requestId }).kind !== "permitted") return false;
    return pairing[name](requestId, by).then(
      () => true,
      () => false,
    );
  };

  return {
    ...runs,
    async connect(ask) {
      const tokenName = `${ask.device} ${ask.role}`;
      const key = ask.device === undefined ? undefined : keys[ask.device];
      const verdict = await pairing.authenticate(toAdmissionAsk(ask, { key, nowMs, token: tokens.get(tokenName) ?? "none" }));
      if (verdict.kind === "admitted") {
        const { grant, principal } = verdict.admission;
        if (grant !== undefined) tokens.set(tokenName, grant.token.reveal());
        return { kind: "admitted", principal };
      }
      const requestId = verdict.error.details["requestId"];
      const record = (await pairing.list(lister)).pending.find((one) => one.requestId === requestId);
      return record === undefined ? { kind: "refused" } : toPending({ ...record, device: indexOf(record.deviceId) });
    },
    approve: (requestId, by) => decide("approve", requestId, by),
    reject: (requestId, by) => decide("reject", requestId, by),
    restart: () => void (pairing = open()),
    configure(on) {
      autoApproveLocal = on;
      pairing = open();
    },
    wait: (ms) => void (nowMs += ms),
    async grants() {
      const { paired } = await pairing.list(lister);
      return paired
        .flatMap((device) => device.grants.map(({ role, scopes }) => ({ device: indexOf(device.deviceId), role, scopes })))
        .sort((a, b) => a.device - b.device);
    },
    findAuditBreak: () => store.audit.findBreak(),
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
}

function openPairing(store: Store, options: { readonly clock: Clock; readonly autoApproveLocal: boolean }): Pairing {
  const credentials = createCredentials({ secret: new Secret(secret), tokenKey, gatewayId: "aa".repeat(32) });
  const attempts = createAttempts({ store: store.attempts, clock: options.clock });
  return createPairing({ store: store.devices, credentials, authMode: "token", attempts, log: silent, bus: new Bus(), ...options });
}

/** Runs as the handlers admit them, at once claimed, so that they may spawn. */
function createRuns(store: Store, now: () => number): Pick<World, "start" | "spawn"> {
  let made = 0;
  const limits = { maxSpawnDepth: maxDepth, maxChildrenPerAgent: 100, runTimeoutSeconds: 0 };
  const agents = { defaultAgentId: "main", isAgent: () => true, modelOf: () => "scripted/echo", problemWithModel: () => undefined };
  const begin = async (run: RunRecord): Promise<StartedRun> => {
    await store.runs.claim({ owner: "w", leaseMs: 1, limit: 100, maxConcurrentChildren: 100, quote: () => "" }, now());
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
        },
        now(),
      );
      return admission.kind === "admitted" ? begin(admission.run) : undefined;
    },
    async spawn(by) {
      if (permits(by, "subagents.spawn", methods["subagents.spawn"], {}).kind !== "permitted") return undefined;
      made += 1;
      const params = { task: "look", idempotencyKey: `k${made}` };
      return spawn({ store, limits, ...agents, now }, by, params).then(
        ({ run }) => begin(run),
        () => undefined,
      );
    },
  };
}

function toAdmissionAsk(
  ask: ConnectAsk,
  { key, nowMs, token }: { key: ReturnType<typeof createDeviceKey> | undefined; nowMs: number; token: string },
): AdmissionAsk {
  const { role, scopes, credential } = ask;
  const client = { id: "cli", mode: "cli", version: "1", platform: ask.isChanged ? "windows" : "linux" } as const;
  const auth = credential === "device token" ? { deviceToken: token } : { token: credential === "secret" ? secret : "wrong" };
  const proof = { clientId: client.id, clientMode: client.mode, role, scopes, signedAt: nowMs, nonce, platform: client.platform };
  const signed = auth.token ?? auth.deviceToken ?? "";
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

function ignore(): void {}

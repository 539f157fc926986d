/** The rules without a store, sockets or keys: the gateway's own pure decisions over a few maps. */
import { coversAll, limits, methods, normaliseScopes } from "@portreeve/protocol";
import { decide, type Standing } from "../../packages/gateway/src/identity/grant.ts";
import {
  authorityOfChild,
  authorityToStart,
  devicePrincipal,
  permits,
  type Principal,
  type RunAuthority,
  runPrincipal,
  secretPrincipal,
} from "../../packages/gateway/src/principal/principal.ts";
import { type ConnectAsk, deviceCount } from "./actions.ts";
import type { Request, StartedRun, Verdict, World } from "./play.ts";

interface Device {
  readonly grants: Map<string, readonly string[]>;
  isChangedWhenPaired: boolean;
  isRefused: boolean;
  pending: Pending | undefined;
}

interface Pending extends Request {
  readonly expiresAtMs: number;
  /** What the asking device says it runs on goes with its approval. */
  readonly isChanged: boolean;
}

/** Of sub-agents: low, so that plays reach it. */
export const maxDepth = 2;

export function createModelWorld(): World {
  let [nowMs, autoApproveLocal, made] = [0, true, 0];
  const devices = Array.from({ length: deviceCount }, (): Device => ({
    grants: new Map(),
    isChangedWhenPaired: false,
    isRefused: false,
    pending: undefined,
  }));
  const waiting = (requestId: string): Device | undefined =>
    devices.find(({ pending }) => pending?.requestId === requestId && pending.expiresAtMs > nowMs);
  return {
    ...createModelRuns(),
    connect(ask) {
      const device = ask.device === undefined ? undefined : devices[ask.device];
      const decision = decide(toFacts(ask, device, { nowMs, autoApproveLocal }));
      if (decision.kind === "refuse") return { kind: "refused" };
      if (ask.device === undefined || device === undefined)
        return "scopes" in decision ? { kind: "admitted", principal: secretPrincipal(decision.scopes) } : { kind: "refused" };
      if (decision.kind === "pend")
        return { kind: "pending", request: merge(device, ask.device, ask, { nowMs, next: () => `r${(made += 1)}` }) };
      if (decision.kind === "approve-silently") {
        device.grants.set(ask.role, ask.role === "operator" ? decision.scopes : []);
        device.isChangedWhenPaired = ask.isChanged;
      }
      return admitted(ask.device, ask.role, decision.scopes);
    },
    approve(requestId, by) {
      const device = waiting(requestId);
      return device?.pending !== undefined && may(by, "device.pair.approve") && approve(device, device.pending, by);
    },
    reject(requestId, by) {
      const device = waiting(requestId);
      if (device === undefined || !may(by, "device.pair.reject")) return false;
      Object.assign(device, { pending: undefined, isRefused: true });
      return true;
    },
    restart: () => undefined,
    configure: (on) => void (autoApproveLocal = on),
    wait: (ms) => void (nowMs += ms),
    grants: () => devices.flatMap(({ grants }, device) => [...grants].map(([role, scopes]) => ({ device, role, scopes }))),
  };
}

function createModelRuns(): Pick<World, "start" | "spawn"> {
  let made = 0;
  const begin = (authority: RunAuthority, sessionKey: string | undefined): StartedRun => {
    made += 1;
    const principal = runPrincipal({
      runId: `run_${made}`,
      sessionKey: sessionKey ?? `session ${made}`,
      rootSessionKey: "root",
      authority,
    });
    return { authority, principal };
  };
  return {
    start(by, inSessionOf) {
      if (!may(by, "agent")) return undefined;
      const authority = authorityToStart(by);
      const depth = Math.max(authority.depth, inSessionOf?.depth ?? 0);
      return begin({ ...authority, depth, owner: authority.owner && depth === 0 }, inSessionOf?.sessionKey);
    },
    spawn(by) {
      const authority = authorityOfChild(by);
      return may(by, "subagents.spawn") && authority.depth <= maxDepth ? begin(authority, undefined) : undefined;
    },
  };
}

function approve(device: Device, { roles, scopes, isChanged }: Pending, by: Principal): boolean {
  if (!coversAll(by.scopes, roles.includes("node") ? [...scopes, "operator.admin"] : scopes)) return false;
  for (const role of roles)
    device.grants.set(role, role === "operator" ? normaliseScopes([...(device.grants.get(role) ?? []), ...scopes]) : []);
  Object.assign(device, { pending: undefined, isRefused: false, isChangedWhenPaired: isChanged });
  return true;
}

function toFacts(ask: ConnectAsk, device: Device | undefined, { nowMs, autoApproveLocal }: { nowMs: number; autoApproveLocal: boolean }) {
  const peer = { directLoopback: ask.peer !== "remote", hasOrigin: ask.peer === "local page" };
  const secret = ask.credential === "secret" ? "right" : ask.credential === "wrong" ? "wrong" : "absent";
  if (device === undefined) return { subject: "no-device", ask, peer, secret } as const;
  const ceiling = device.grants.get(ask.role);
  const hasToken = ask.credential === "device token";
  const standing: Standing =
    device.grants.size === 0
      ? { kind: "unknown", refused: device.isRefused, hasPending: (device.pending?.expiresAtMs ?? 0) > nowMs }
      : { kind: "paired", ceiling, tokenScopes: ceiling ?? [], metadataChanged: device.isChangedWhenPaired !== ask.isChanged };
  const token = hasToken && ceiling !== undefined ? "right" : ask.credential === "secret" || hasToken ? "wrong" : "absent";
  return { subject: "device", ask, peer, secret, token, offersDeviceToken: hasToken, standing, autoApproveLocal } as const;
}

/** One request a device: a wider ask replaces it with both. */
function merge(device: Device, index: number, ask: ConnectAsk, { nowMs, next }: { nowMs: number; next: () => string }): Request {
  const before = device.pending !== undefined && device.pending.expiresAtMs > nowMs ? device.pending : undefined;
  const expiresAtMs = nowMs + limits.pairingRequestTtlMs;
  const isNoMore = before?.roles.includes(ask.role) === true && coversAll(before.scopes, ask.scopes);
  const request: Pending = isNoMore
    ? { ...before, expiresAtMs }
    : {
        requestId: next(),
        device: index,
        roles: [...new Set([...(before?.roles ?? []), ask.role])],
        scopes: normaliseScopes([...(before?.scopes ?? []), ...ask.scopes]),
        expiresAtMs,
        isChanged: ask.isChanged,
      };
  device.pending = request;
  return request;
}

function admitted(device: number, role: "operator" | "node", scopes: readonly string[]): Verdict {
  return { kind: "admitted", principal: devicePrincipal({ deviceId: `d${device}`, role, scopes }) };
}

function may(principal: Principal, name: "agent" | "subagents.spawn" | "device.pair.approve" | "device.pair.reject"): boolean {
  return permits(principal, name, methods[name], {}).kind === "permitted";
}

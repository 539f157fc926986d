/** The rules without a store, sockets or keys: the gateway's own pure decisions over a few maps. */
import { coversAll, limits, methods, normaliseScopes } from "@portreeve/protocol";
import { toActor } from "../../packages/gateway/src/identity/device-management.ts";
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
  /** By role: how often it was granted, and as of which grant the device has its token. */
  readonly generations: Map<string, number>;
  readonly tokens: Map<string, number>;
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
    generations: new Map(),
    tokens: new Map(),
  }));
  /** Whose each approved request was. */
  const approved = new Map<string, number>();
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
        give(device, ask.role, decision.scopes);
        device.isChangedWhenPaired = ask.isChanged;
      }
      device.tokens.set(ask.role, device.generations.get(ask.role) ?? 0);
      return admitted(ask.device, ask.role, decision);
    },
    approve(requestId, by) {
      if (!may(by, "device.pair.approve")) return false;
      const before = approved.get(requestId);
      if (before !== undefined) return manages(by, before);
      const device = waiting(requestId);
      if (device?.pending === undefined || !manages(by, device.pending.device)) return false;
      const { pending } = device;
      if (!approve(device, pending, by)) return false;
      approved.set(requestId, pending.device);
      return true;
    },
    reject(requestId, by) {
      const device = waiting(requestId);
      if (device?.pending === undefined || !may(by, "device.pair.reject") || !manages(by, device.pending.device)) return false;
      Object.assign(device, { pending: undefined, isRefused: true });
      return true;
    },
    restart: () => undefined,
    configure: (on) => void (autoApproveLocal = on),
    wait: (ms) => void (nowMs += ms),
    grants: () => devices.flatMap(({ grants }, device) => ["node", "operator"].flatMap((role) => toGrant(grants, device, role))),
  };
}

function createModelRuns(): Pick<World, "start" | "spawn"> {
  let made = 0;
  /** By session: the run that runs. Those that came later wait for it, and spawn nothing. */
  const running = new Map<string, string>();
  const begin = (authority: RunAuthority, inSession: string | undefined): StartedRun => {
    made += 1;
    const [runId, sessionKey] = [`run_${made}`, inSession ?? `session ${made}`];
    if (!running.has(sessionKey)) running.set(sessionKey, runId);
    return { authority, principal: runPrincipal({ runId, sessionKey, rootSessionKey: "root", authority }) };
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
      const isAccepted = may(by, "subagents.spawn") && running.get(by.sessionKey) === by.runId && authority.depth <= maxDepth;
      return isAccepted ? begin(authority, undefined) : undefined;
    },
  };
}

function approve(device: Device, { roles, scopes, isChanged }: Pending, by: Principal): boolean {
  // What the approval leaves the device with, its earlier scopes included.
  const kept = roles.includes("operator") ? (device.grants.get("operator") ?? []) : [];
  if (!coversAll(by.scopes, [...scopes, ...kept, ...(roles.includes("node") ? ["operator.admin"] : [])])) return false;
  for (const role of roles) give(device, role, [...(device.grants.get(role) ?? []), ...scopes]);
  Object.assign(device, { pending: undefined, isRefused: false, isChangedWhenPaired: isChanged });
  return true;
}

function toGrant(grants: Device["grants"], device: number, role: string) {
  const scopes = grants.get(role);
  return scopes === undefined ? [] : [{ device, role, scopes }];
}

/** A new grant of a role ends the role's old token. */
function give(device: Device, role: string, scopes: readonly string[]): void {
  device.grants.set(role, role === "operator" ? normaliseScopes(scopes) : []);
  device.generations.set(role, (device.generations.get(role) ?? 0) + 1);
}

function toFacts(ask: ConnectAsk, device: Device | undefined, { nowMs, autoApproveLocal }: { nowMs: number; autoApproveLocal: boolean }) {
  const peer = { directLoopback: ask.peer !== "remote", hasOrigin: ask.peer === "local page" };
  const secret = ask.credential === "secret" ? "right" : ask.credential === "wrong" ? "wrong" : "absent";
  if (device === undefined) return { subject: "no-device", ask, peer, method: "token", secret } as const;
  const ceiling = device.grants.get(ask.role);
  const hasToken = ask.credential === "device token";
  const standing: Standing =
    device.grants.size === 0
      ? { kind: "unknown", refused: device.isRefused, hasPending: (device.pending?.expiresAtMs ?? 0) > nowMs }
      : { kind: "paired", ceiling, tokenScopes: ceiling ?? [], metadataChanged: device.isChangedWhenPaired !== ask.isChanged };
  const isTokenRight = ceiling !== undefined && device.tokens.get(ask.role) === device.generations.get(ask.role);
  const token = hasToken && isTokenRight ? "right" : ask.credential === "secret" || hasToken ? "wrong" : "absent";
  return { subject: "device", ask, peer, method: "token", secret, token, offersDeviceToken: hasToken, standing, autoApproveLocal } as const;
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

function admitted(device: number, role: "operator" | "node", { scopes, method }: { scopes: readonly string[]; method?: string }): Verdict {
  const viaDeviceToken = method === "device-token";
  return { kind: "admitted", principal: devicePrincipal({ deviceId: toId(device), role, scopes, viaDeviceToken }) };
}

function toId(device: number): string {
  return `d${device}`;
}

/** Without admin, a device that came with its own token decides about itself alone. */
function manages(by: Principal, device: number): boolean {
  const { ownDeviceOnly, deviceId } = toActor(by);
  return !ownDeviceOnly || deviceId === toId(device);
}

function may(principal: Principal, name: "agent" | "subagents.spawn" | "device.pair.approve" | "device.pair.reject"): boolean {
  return permits(principal, name, methods[name], {}).kind === "permitted";
}

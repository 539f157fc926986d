/** The rules without a store, sockets or keys: the gateway's own pure decisions over a few maps. */
import { coversAll, limits, meet, methods, normaliseScopes } from "@portreeve/protocol";
import { toActor } from "../../packages/gateway/src/identity/device-management.ts";
import { decide, type Standing } from "../../packages/gateway/src/identity/grant.ts";
import { defaultSetupScopes } from "../../packages/gateway/src/identity/setup-codes.ts";
import {
  attenuateScopes,
  devicePrincipal,
  permits,
  type Principal,
  secretPrincipal,
} from "../../packages/gateway/src/principal/principal.ts";
import { type ConnectAsk, deviceCount, firstSettings, type Role, type Settings, type Subject } from "./actions.ts";
import { ModelClock } from "./model-clock.ts";
import { ModelRuns } from "./model-runs.ts";
import type { ManagingMethod, Request, Verdict, World } from "./world.ts";

interface Grant {
  readonly scopes: readonly string[];
  readonly tokenScopes: readonly string[];
  readonly elevation: { readonly scopes: readonly string[]; readonly untilMs: number; readonly seenMs: number } | undefined;
  readonly isRevoked: boolean;
}

interface Device {
  isPaired: boolean;
  readonly grants: Map<Role, Grant>;
  isChangedWhenPaired: boolean;
  isRefused: boolean;
  pending: Pending | undefined;
  /** By role: how often it was granted or ended, and as of which of these the device has its token. */
  readonly generations: Map<Role, number>;
  readonly tokens: Map<Role, number>;
}

interface Pending extends Request {
  readonly expiresAtMs: number;
  /** What the asking device says it runs on goes with its approval. */
  readonly isChanged: boolean;
}

interface Code {
  readonly by: Principal;
  readonly issuedAtMs: number;
  readonly role: Role;
  readonly scopes: readonly string[];
  readonly expiresAtMs: number;
  boundTo: number | undefined;
  isUsed: boolean;
}

export function createModelWorld(): World {
  const world = new ModelWorld();
  const { runs } = world;
  return {
    start: (by, ask) => runs.start(by, ask),
    spawn: (by, ask) => runs.spawn(by, ask),
    steer: (by, run) => runs.steer(by, run),
    abort: (by, run) => runs.abort(by, run),
    toolsOf: (run) => runs.toolsOf(run),
    connect: (ask) => world.connect(ask),
    approve: (requestId, by, minutes) => world.approve(requestId, by, minutes),
    reject: (requestId, by) => world.reject(requestId, by),
    rotate: (subject, scopes, by) => world.rotate(subject, scopes, by),
    revoke: (subject, by) => world.revoke(subject, by),
    remove: (device, by) => world.remove(device, by),
    invite: (ask, by) => world.invite(ask, by),
    present: (code, subject, scopes) => world.present(code, subject, scopes),
    restart: () => world.restart(),
    configure: (settings) => {
      world.settings = settings;
      world.restart();
    },
    wait: (ms) => world.move(() => world.clock.pass(ms)),
    setClock: (byMs) => world.move(() => world.clock.set(byMs)),
    grants: () => world.grants(),
  };
}

class ModelWorld {
  readonly clock = new ModelClock();
  settings: Settings = firstSettings;
  readonly runs = new ModelRuns(
    () => this.nowMs,
    () => this.settings,
  );
  #made = 0;
  /** When somebody last asked for pairing. */
  #askedAtMs = -Infinity;
  readonly #codes: Code[] = [];
  readonly #approved = new Map<string, Pending>();
  readonly #devices = Array.from({ length: deviceCount }, (): Device => ({
    isPaired: false,
    grants: new Map(),
    isChangedWhenPaired: false,
    isRefused: false,
    pending: undefined,
    generations: new Map(),
    tokens: new Map(),
  }));

  get nowMs(): number {
    return this.clock.nowMs;
  }

  move(clock: () => void): readonly string[] {
    clock();
    this.#note();
    return this.runs.expire();
  }

  restart(): void {
    const elevations = this.#elevations().map(({ seenMs }) => seenMs);
    const started = this.runs.timed().flatMap(({ startedAtMs }) => startedAtMs ?? []);
    this.clock.restart([this.#askedAtMs, ...this.#codes.map(({ issuedAtMs }) => issuedAtMs), ...elevations, ...started]);
    this.#note();
  }

  /** As often as something may have ended: what is lent and over goes, what goes on was seen. */
  #note(): void {
    for (const { grants } of this.#devices) {
      for (const [role, grant] of grants) {
        const { elevation } = grant;
        if (elevation === undefined) continue;
        const isOver = elevation.untilMs <= this.nowMs;
        grants.set(role, { ...grant, elevation: isOver ? undefined : { ...elevation, seenMs: this.nowMs } });
      }
    }
    const requests = this.#devices.flatMap(({ pending }) => pending?.expiresAtMs ?? []);
    const codes = this.#codes.flatMap(({ isUsed, expiresAtMs }) => (isUsed ? [] : [expiresAtMs]));
    const lent = this.#elevations().map(() => Infinity);
    this.clock.note([...requests, ...codes, ...lent, ...this.runs.timed().map(({ deadlineAtMs }) => deadlineAtMs)]);
  }

  #elevations() {
    return this.#devices.flatMap(({ grants }) => [...grants.values()].flatMap(({ elevation }) => elevation ?? []));
  }

  connect(ask: ConnectAsk): Verdict {
    const device = ask.device === undefined ? undefined : this.#devices[ask.device];
    const decision = decide(toFacts(ask, device, this));
    if (decision.kind === "refuse") return { kind: "refused" };
    if (ask.device === undefined || device === undefined)
      return "scopes" in decision
        ? { kind: "admitted", principal: secretPrincipal(decision.scopes), endsInMs: undefined }
        : { kind: "refused" };
    if (decision.kind === "pend") return { kind: "pending", request: this.#merge(device, ask.device, ask) };
    if (decision.kind === "approve-silently") {
      give(device, ask.role, { scopes: decision.scopes, untilMs: undefined, nowMs: this.nowMs });
      device.isChangedWhenPaired = ask.isChanged;
    }
    const viaDeviceToken = "method" in decision && decision.method === "device-token";
    return this.#admit({ device: ask.device, role: ask.role }, decision.scopes, viaDeviceToken);
  }

  approve(requestId: string, by: Principal, minutes: number | undefined): boolean {
    const untilMs = minutes === undefined ? undefined : this.nowMs + minutes * 60_000;
    const held = this.#held(by, untilMs);
    if (!may(by, "device.pair.approve") || held === undefined) return false;
    const decided = this.#approved.get(requestId);
    const request = decided ?? this.#waiting(requestId)?.pending;
    const device = request && this.#devices[request.device];
    if (request === undefined || device === undefined || !manages(by, request.device)) return false;
    if (decided !== undefined && !device.isPaired) return false;
    if (request.roles.includes("node") && untilMs !== undefined) return false;
    // What the approval leaves the device with, its earlier scopes included.
    const kept = request.roles.includes("operator") ? (liveGrant(device, "operator")?.scopes ?? []) : [];
    if (!coversAll(held, [...request.scopes, ...kept, ...(request.roles.includes("node") ? ["operator.admin"] : [])])) return false;
    if (decided !== undefined) return true;
    for (const role of request.roles as readonly Role[]) give(device, role, { scopes: request.scopes, untilMs, nowMs: this.nowMs });
    Object.assign(device, { pending: undefined, isRefused: false, isChangedWhenPaired: request.isChanged });
    this.#approved.set(requestId, request);
    return true;
  }

  reject(requestId: string, by: Principal): boolean {
    const device = this.#waiting(requestId);
    if (device?.pending === undefined || !may(by, "device.pair.reject") || !manages(by, device.pending.device)) return false;
    if (this.#held(by, undefined) === undefined) return false;
    Object.assign(device, { pending: undefined, isRefused: true });
    return true;
  }

  rotate({ device: index, role }: Subject, scopes: readonly string[] | undefined, by: Principal): readonly string[] | undefined {
    const [device, held] = [this.#devices[index], this.#managed({ device: index, role }, "device.token.rotate", by)];
    const grant = device && liveGrant(device, role);
    if (held === undefined || device === undefined || grant === undefined) return undefined;
    const asked = normaliseScopes(scopes ?? grant.tokenScopes);
    if (!coversAll(grant.scopes, asked) || !coversAll(held, asked)) return undefined;
    device.grants.set(role, { ...grant, tokenScopes: asked, elevation: undefined });
    raise(device, role);
    if (by.kind === "device" && by.deviceId === toId(index)) device.tokens.set(role, device.generations.get(role) ?? 0);
    return asked;
  }

  revoke({ device: index, role }: Subject, by: Principal): number | undefined {
    const [device, held] = [this.#devices[index], this.#managed({ device: index, role }, "device.token.revoke", by)];
    const grant = device?.grants.get(role);
    if (device === undefined || held === undefined || grant === undefined) return undefined;
    if (!grant.isRevoked) {
      device.grants.set(role, { ...grant, elevation: undefined, isRevoked: true });
      raise(device, role);
      device.isRefused = true;
      if (role === "operator") this.#dropCodesOf(index);
    }
    return role === "operator" ? this.runs.cancelOf(`device:${toId(index)}`) : 0;
  }

  remove(index: number, by: Principal): number | undefined {
    const [device, held] = [this.#devices[index], this.#held(by, undefined)];
    if (device?.isPaired !== true || held === undefined || !may(by, "device.pair.remove") || !manages(by, index)) return undefined;
    if (liveGrant(device, "node") !== undefined && !coversAll(held, ["operator.admin"])) return undefined;
    device.grants.clear();
    this.#dropCodesOf(index);
    Object.assign(device, { isPaired: false, isRefused: true, pending: undefined });
    return this.runs.cancelOf(`device:${toId(index)}`);
  }

  invite({ role, scopes }: { role: Role; scopes: readonly string[] | undefined }, by: Principal) {
    if (!may(by, "device.pair.setupCode") || (role === "node" && (scopes?.length ?? 0) > 0)) return undefined;
    const held = this.#held(by, undefined);
    if (held === undefined || (role === "node" && !coversAll(held, ["operator.admin"]))) return undefined;
    const granted = role === "node" ? [] : meet(held, attenuateScopes(by, scopes ?? defaultSetupScopes));
    const expiresAtMs = this.nowMs + limits.setupCodeTtlMs;
    this.#codes.push({ by, role, scopes: granted, issuedAtMs: this.nowMs, expiresAtMs, boundTo: undefined, isUsed: false });
    return granted;
  }

  /** As if they had been used. */
  #dropCodesOf(device: number): void {
    for (const code of this.#codes) if (code.by.kind === "device" && code.by.deviceId === toId(device)) code.isUsed = true;
  }

  present(which: number, { device: index, role }: Subject, scopes: readonly string[]): Verdict {
    const [code, device] = [this.#codes[which], this.#devices[index]];
    if (code === undefined || device === undefined || code.isUsed || code.expiresAtMs <= this.nowMs) return { kind: "refused" };
    if ((code.boundTo ?? index) !== index) return { kind: "refused" };
    code.boundTo = index;
    if (role !== code.role || !coversAll(code.scopes, scopes)) return { kind: "refused" };
    give(device, role, { scopes: code.scopes, untilMs: undefined, nowMs: this.nowMs });
    Object.assign(device, { isRefused: false, isChangedWhenPaired: false });
    code.isUsed = true;
    return this.#admit({ device: index, role }, normaliseScopes(scopes), false);
  }

  grants() {
    return this.#devices.flatMap(({ grants }, device) =>
      (["node", "operator"] as const).flatMap((role) => {
        const grant = grants.get(role);
        return grant === undefined || grant.isRevoked ? [] : [{ device, role, scopes: grant.scopes }];
      }),
    );
  }

  #waiting(requestId: string): Device | undefined {
    return this.#devices.find(({ pending }) => pending?.requestId === requestId && pending.expiresAtMs > this.nowMs);
  }

  /** What somebody may hand on until then; undefined: a device that is not paired any more. */
  #held(by: Principal, untilMs: number | undefined): readonly string[] | undefined {
    if (by.kind !== "device") return by.scopes;
    const device = this.#devices[Number(by.deviceId.slice(1))];
    const grant = device && liveGrant(device, "operator");
    if (grant === undefined) return undefined;
    const isWithin = untilMs !== undefined && grant.elevation !== undefined && untilMs <= grant.elevation.untilMs;
    return meet(by.scopes, isWithin ? [...grant.scopes, ...elevated(grant, this.nowMs)] : grant.scopes);
  }

  #managed({ device, role }: Subject, method: ManagingMethod, by: Principal): readonly string[] | undefined {
    const held = this.#held(by, undefined);
    if (held === undefined || !may(by, method) || !manages(by, device)) return undefined;
    return role === "node" && !coversAll(held, ["operator.admin"]) ? undefined : held;
  }

  /** One request a device: a wider ask replaces it with both. */
  #merge(device: Device, index: number, ask: ConnectAsk): Request {
    const before = device.pending !== undefined && device.pending.expiresAtMs > this.nowMs ? device.pending : undefined;
    this.#askedAtMs = Math.max(this.#askedAtMs, this.nowMs);
    const expiresAtMs = this.nowMs + limits.pairingRequestTtlMs;
    const isNoMore = before?.roles.includes(ask.role) === true && coversAll(before.scopes, ask.scopes);
    device.pending = isNoMore
      ? { ...before, expiresAtMs }
      : {
          requestId: `r${(this.#made += 1)}`,
          device: index,
          roles: [...new Set([...(before?.roles ?? []), ask.role])],
          scopes: normaliseScopes([...(before?.scopes ?? []), ...ask.scopes]),
          expiresAtMs,
          isChanged: ask.isChanged,
        };
    return device.pending;
  }

  #admit({ device: index, role }: Subject, scopes: readonly string[], viaDeviceToken: boolean): Verdict {
    const device = this.#devices[index];
    const grant = device && liveGrant(device, role);
    device?.tokens.set(role, device.generations.get(role) ?? 0);
    const isForGood = grant === undefined || coversAll(grant.scopes, scopes);
    const endsInMs = isForGood ? undefined : (grant.elevation?.untilMs ?? this.nowMs) - this.nowMs;
    return { kind: "admitted", principal: devicePrincipal({ deviceId: toId(index), role, scopes, viaDeviceToken }), endsInMs };
  }
}

function liveGrant({ grants }: Device, role: Role): Grant | undefined {
  const grant = grants.get(role);
  return grant?.isRevoked === false ? grant : undefined;
}

function elevated({ elevation }: Grant, nowMs: number): readonly string[] {
  return elevation !== undefined && elevation.untilMs > nowMs ? elevation.scopes : [];
}

/** What is given is added to what there was, for good or until then; a new grant of a role ends the role's old token. */
function give(
  device: Device,
  role: Role,
  given: { readonly scopes: readonly string[]; readonly untilMs: number | undefined; readonly nowMs: number },
): void {
  const { untilMs, nowMs } = given;
  const [kept, asked] = [liveGrant(device, role), role === "operator" ? given.scopes : []];
  const scopes = normaliseScopes([...(kept?.scopes ?? []), ...(untilMs === undefined ? asked : [])]);
  const beyond = asked.filter((scope) => !coversAll(kept?.scopes ?? [], [scope]));
  const elevation = untilMs === undefined ? kept?.elevation : { scopes: beyond, untilMs, seenMs: nowMs };
  device.grants.set(role, { scopes, tokenScopes: scopes, elevation, isRevoked: false });
  device.isPaired = true;
  raise(device, role);
}

function raise({ generations }: Device, role: Role): void {
  generations.set(role, (generations.get(role) ?? 0) + 1);
}

function toFacts(
  ask: ConnectAsk,
  device: Device | undefined,
  { nowMs, settings: { autoApproveLocal, authMode: method } }: { readonly nowMs: number; readonly settings: Settings },
) {
  const peer = { directLoopback: ask.peer !== "remote", hasOrigin: ask.peer === "local page" };
  // Where nothing is asked for, whatever is offered will do.
  const isRight = method === "none" || ask.credential === "secret";
  const secret = isRight ? "right" : ask.credential === "wrong" ? "wrong" : "absent";
  if (device === undefined) return { subject: "no-device", ask, peer, method, secret } as const;
  const grant = liveGrant(device, ask.role);
  const hasToken = ask.credential === "device token";
  const standing: Standing = device.isPaired
    ? {
        kind: "paired",
        ceiling: grant && [...grant.scopes, ...elevated(grant, nowMs)],
        tokenScopes: grant === undefined ? [] : [...grant.tokenScopes, ...elevated(grant, nowMs)],
        metadataChanged: device.isChangedWhenPaired !== ask.isChanged,
      }
    : { kind: "unknown", refused: device.isRefused, hasPending: (device.pending?.expiresAtMs ?? 0) > nowMs };
  const isTokenRight = grant !== undefined && device.tokens.get(ask.role) === device.generations.get(ask.role);
  const token = hasToken && isTokenRight ? "right" : ask.credential === "secret" || hasToken ? "wrong" : "absent";
  return { subject: "device", ask, peer, method, secret, token, offersDeviceToken: hasToken, standing, autoApproveLocal } as const;
}

function toId(device: number): string {
  return `d${device}`;
}

/** Without admin, a device that came with its own token decides about itself alone. */
function manages(by: Principal, device: number): boolean {
  const { ownDeviceOnly, deviceId } = toActor(by);
  return !ownDeviceOnly || deviceId === toId(device);
}

function may(principal: Principal, name: ManagingMethod): boolean {
  return permits(principal, name, methods[name], {}).kind === "permitted";
}

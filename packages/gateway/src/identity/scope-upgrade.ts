/**
 * Live upgrades: a connected device asks to be approved for more and waits for the decision. It is the same request as the
 * one a wider connect makes, one a device; the open connection keeps exactly the scopes it has.
 */
import { covers, normaliseScopes, ProtocolError, scopeNames } from "@portreeve/protocol";
import type { Secret } from "../kit/secret.ts";
import type { DevicePrincipal, Principal } from "../principal/principal.ts";
import { liveGrant, tokenCeilingOf } from "../store/grants.ts";
import { actionDenied, unknownRequest } from "./device-management.ts";
import { announceRequest, type PairingDeps } from "./pairing.ts";
import { pairingRequired } from "./refusals.ts";

export type UpgradeOutcome =
  | { readonly status: "approved"; readonly deviceToken: Secret; readonly scopes: readonly string[] }
  | { readonly status: "rejected" | "expired" };

export interface ScopeUpgrades {
  /** @throws ProtocolError DEVICE_ACTION_DENIED, INVALID_PARAMS, or PAIRING_REQUIRED when too many requests wait. */
  request(scopes: readonly string[], by: Principal): Promise<{ readonly requestId: string }>;
  /** Waits no longer than the request does. @throws ProtocolError UNKNOWN_REQUEST for whoever did not ask; the signal's reason. */
  wait(requestId: string, by: Principal, signal: AbortSignal): Promise<UpgradeOutcome>;
}

type UpgradeDeps = Omit<PairingDeps, "attempts" | "authMode" | "autoApproveLocal" | "nodes">;

export function createScopeUpgrades(deps: UpgradeDeps): ScopeUpgrades {
  return {
    async request(scopes, by) {
      const asked = normaliseScopes(scopes);
      const device = assertDevice(by);
      assertUpgrade(asked, device);
      const state = await deps.store.find(device.deviceId);
      if (state.kind !== "paired" || liveGrant(state.device, "operator") === undefined) throw denied();
      const { device: facts } = state;
      const ask = { ...facts, role: "operator", scopes: asked, reason: "scope-upgrade", isRepair: true } as const;
      const outcome = await deps.store.requestPairing(ask, deps.clock.now());
      if (outcome.kind === "covered") throw alreadyApproved();
      if (outcome.kind !== "pending") {
        const { grants, deviceId } = facts;
        throw pairingRequired({ reason: ask.reason, request: undefined, deviceId, ask: { role: "operator", scopes: asked }, grants });
      }
      if (outcome.created) announceRequest(deps, outcome.request, outcome.superseded, facts.grants);
      return { requestId: outcome.request.requestId };
    },

    async wait(requestId, by, signal) {
      const { deviceId } = assertDevice(by);
      for (;;) {
        signal.throwIfAborted();
        // Listening begins before the row is read: a decision in between is not missed.
        using decided = listen(deps, requestId, signal);
        const request = await deps.store.findRequest(requestId);
        if (request === undefined || request.deviceId !== deviceId) throw unknownRequest(requestId);
        if (request.state === "approved") return await readApproved(deps, deviceId);
        if (request.state !== "pending") return { status: "rejected" };
        if (request.expiresAtMs <= deps.clock.now()) return { status: "expired" };
        await decided.orAt(request.expiresAtMs);
      }
    },
  };
}

async function readApproved({ store, credentials, clock }: UpgradeDeps, deviceId: string): Promise<UpgradeOutcome> {
  const state = await store.find(deviceId);
  const grant = state.kind === "paired" ? liveGrant(state.device, "operator") : undefined;
  // Approved, and removed or revoked since.
  if (grant === undefined) return { status: "rejected" };
  const deviceToken = credentials.deviceToken({ deviceId, role: "operator", generation: grant.generation });
  return { status: "approved", deviceToken, scopes: tokenCeilingOf(grant, clock.now()) };
}

/** `orAt` resolves when the request is decided or the time has come, and rejects when nobody waits any more. */
function listen({ bus, clock }: UpgradeDeps, requestId: string, signal: AbortSignal): Disposable & { orAt(atMs: number): Promise<void> } {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  promise.catch(() => undefined);
  const held = new DisposableStack();
  held.use(bus.subscribe("device.pair.resolved", (event) => (event.requestId === requestId ? resolve() : undefined)));
  const onAbort = (): void => reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  held.defer(() => signal.removeEventListener("abort", onAbort));
  return {
    orAt(atMs) {
      held.use(clock.schedule(atMs, resolve));
      return promise;
    },
    [Symbol.dispose]: () => held.dispose(),
  };
}

function assertDevice(by: Principal): DevicePrincipal {
  if (by.kind !== "device") throw denied();
  return by;
}

function assertUpgrade(asked: readonly string[], device: DevicePrincipal): void {
  const unknown = asked.find((scope) => !scopeNames.some((name) => name === scope));
  if (unknown !== undefined)
    throw new ProtocolError("INVALID_PARAMS", `unknown scope: ${unknown.slice(0, 100)}`, {
      remedy: `Ask for some of: ${scopeNames.join(", ")}`,
    });
  const left = device.scopes.find((scope) => !covers(asked, scope));
  if (left !== undefined)
    throw new ProtocolError("INVALID_PARAMS", `the scopes of an upgrade must include the present ones: ${left} is missing`, {
      remedy: "Ask for the scopes of this connection and the new ones together.",
    });
}

function alreadyApproved(): ProtocolError {
  return new ProtocolError("INVALID_PARAMS", "the device is approved for these scopes already", {
    remedy: "Connect again and ask for them.",
  });
}

function denied(): ProtocolError {
  return actionDenied("device scope upgrade denied");
}

/**
 * Managing paired devices: remove, rename, rotate, revoke. The sockets that lose their authority are closed before whoever
 * asked hears that it is done; every refusal reads the same, so that it tells nothing about other devices.
 */
import { covers, ProtocolError } from "@portreeve/protocol";
import type { Bus } from "../bus.ts";
import type { Clock } from "../kit/clock.ts";
import type { Log } from "../kit/log.ts";
import type { Secret } from "../kit/secret.ts";
import type { Principal } from "../principal/principal.ts";
import type { Actor, TokenSubject } from "../store/device-management.ts";
import type { DeviceStore } from "../store/device-store.ts";
import type { RunRecord, RunSelection } from "../store/store.ts";
import type { Credentials } from "./credentials.ts";

/** The request that asked, so that its own connection can still be sent the answer. */
export interface AskedBy {
  readonly connId: string | undefined;
  readonly signal: AbortSignal;
}

/**
 * Closes every connection of the device (and role) with 4001, at once; that of `lastAnswer` right after that answer. Resolves
 * when no request that was in flight can write any more: what is answered after it, holds.
 */
export type ExpelDevice = (
  target: { readonly deviceId: string; readonly role?: string | undefined },
  lastAnswer: AskedBy | undefined,
) => Promise<void>;

export interface DeviceManagementDeps {
  readonly store: DeviceStore;
  readonly credentials: Credentials;
  readonly clock: Clock;
  readonly log: Log;
  readonly bus: Bus;
  readonly expel: ExpelDevice;
  /** Durable when it resolves. */
  readonly cancelRuns: (select: Extract<RunSelection, { readonly startedBy: string }>) => Promise<readonly RunRecord[]>;
}

export interface RotatedToken extends TokenSubject {
  readonly scopes: readonly string[];
  readonly rotatedAtMs: number;
  /** Undefined when the caller is neither the device nor holds `operator.admin`. */
  readonly token: Secret | undefined;
}

export interface DeviceManager {
  /** Cancels what the device started. @throws ProtocolError UNKNOWN_DEVICE, DEVICE_ACTION_DENIED */
  remove(deviceId: string, by: Principal, asked: AskedBy): Promise<{ readonly cancelledRuns: number }>;
  /** @throws ProtocolError UNKNOWN_DEVICE */
  rename(device: { readonly deviceId: string; readonly label: string }, by: Principal): Promise<void>;
  /** @throws ProtocolError DEVICE_ACTION_DENIED */
  rotateToken(
    subject: TokenSubject & { readonly scopes: readonly string[] | undefined },
    by: Principal,
    asked: AskedBy,
  ): Promise<RotatedToken>;
  /** With the role operator it cancels what the device started. @throws ProtocolError DEVICE_ACTION_DENIED */
  revokeToken(
    subject: TokenSubject,
    by: Principal,
    asked: AskedBy,
  ): Promise<{ readonly revokedAtMs: number; readonly cancelledRuns: number }>;
}

export function createDeviceManager(deps: DeviceManagementDeps): DeviceManager {
  const { store, clock, log, bus } = deps;
  const changed = (facts: object, what: string): void => {
    log.info(facts, what);
    bus.publish("device.pair.changed", {});
  };
  const refused = (what: string, facts: object): ProtocolError => {
    log.warn(facts, what);
    return actionDenied(what);
  };
  // After the sockets: nothing that was in flight starts another one.
  const cancelRunsOf = async (deviceId: string, by: Principal): Promise<number> =>
    (await deps.cancelRuns({ startedBy: `device:${deviceId}`, by: by.id })).length;
  return {
    async remove(deviceId, by, asked) {
      const outcome = await store.remove(deviceId, toActor(by), clock.now());
      if (outcome.kind === "unknown") throw unknownDevice();
      if (outcome.kind === "denied") throw refused("device removal denied", { deviceId, by: by.id, rule: outcome.rule });
      await deps.expel({ deviceId }, asked);
      const cancelledRuns = await cancelRunsOf(deviceId, by);
      const ts = clock.now();
      for (const requestId of outcome.rejectedRequests)
        bus.publish("device.pair.resolved", { requestId, deviceId, decision: "rejected", ts });
      changed({ deviceId, by: by.id, cancelledRuns }, "device removed");
      return { cancelledRuns };
    },
    async rename(device, by) {
      const outcome = await store.rename(device, toActor(by), clock.now());
      if (outcome === "unknown") throw unknownDevice();
      changed({ ...device, by: by.id }, "device renamed");
    },
    async rotateToken(subject, by, asked) {
      const { deviceId, role } = subject;
      const outcome = await store.rotateToken(subject, toActor(by), clock.now());
      if (outcome.kind === "denied") throw refused("device token rotation denied", { deviceId, role, by: by.id, rule: outcome.rule });
      await deps.expel({ deviceId, role }, asked);
      const { grant, mayReceive } = outcome;
      changed({ deviceId, role, scopes: grant.tokenScopes, by: by.id }, "device token rotated");
      return {
        deviceId,
        role,
        scopes: grant.tokenScopes,
        rotatedAtMs: grant.rotatedAtMs ?? grant.createdAtMs,
        token: mayReceive ? deps.credentials.deviceToken({ deviceId, role, generation: grant.generation }) : undefined,
      };
    },
    async revokeToken(subject, by, asked) {
      const { deviceId, role } = subject;
      const outcome = await store.revokeToken(subject, toActor(by), clock.now());
      if (outcome.kind === "denied") throw refused("device token revocation denied", { deviceId, role, by: by.id, rule: outcome.rule });
      await deps.expel({ deviceId, role }, asked);
      const cancelledRuns = role === "operator" ? await cancelRunsOf(deviceId, by) : 0;
      changed({ deviceId, role, by: by.id, cancelledRuns }, "device token revoked");
      return { revokedAtMs: outcome.revokedAtMs, cancelledRuns };
    },
  };
}

/** What the store needs to know of whoever manages: without admin, a device let in by its own token manages itself alone. */
export function toActor(principal: Principal): Actor {
  const { id, scopes } = principal;
  if (principal.kind !== "device") return { id, scopes, deviceId: undefined, ownDeviceOnly: false };
  const ownDeviceOnly = principal.viaDeviceToken && !covers(scopes, "operator.admin");
  return { id, scopes, deviceId: principal.deviceId, ownDeviceOnly };
}

export function actionDenied(message: string): ProtocolError {
  return new ProtocolError("DEVICE_ACTION_DENIED", message, {
    remedy: "See what there is with: ./portreeve devices list. A connection with operator.admin manages every device and role.",
  });
}

export function unknownRequest(requestId: string): ProtocolError {
  return new ProtocolError("UNKNOWN_REQUEST", "unknown requestId", {
    details: { requestId },
    remedy: "List what waits with: ./portreeve devices list",
  });
}

export function missingScope(scope: string): ProtocolError {
  return new ProtocolError("MISSING_SCOPE", `missing scope: ${scope}`, {
    details: { missingScope: scope, requiredScopes: [scope] },
    remedy: "Approve with a device or the local secret that holds this scope itself, and for at least as long.",
  });
}

export function roleForATime(role: string): ProtocolError {
  return new ProtocolError("INVALID_PARAMS", `expiresInMinutes: the role ${role} cannot be granted for a time, only operator scopes can`, {
    remedy: "Approve without expiresInMinutes, and remove the device or revoke the role's token later.",
  });
}

function unknownDevice(): ProtocolError {
  return new ProtocolError("UNKNOWN_DEVICE", "unknown deviceId", {
    remedy: "List the paired devices with: ./portreeve devices list",
  });
}

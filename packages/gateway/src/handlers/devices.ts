/** Devices: who is paired, who waits, the decision about it, and managing those that are paired. */
import type { Context, Handlers } from "../dispatch/types.ts";
import type { Bearers } from "../identity/bearers.ts";
import type { AskedBy, DeviceManager } from "../identity/device-management.ts";
import { toPairedDevice, toPairingRequest } from "../identity/device-view.ts";
import type { Pairing } from "../identity/pairing.ts";
import type { ScopeUpgrades } from "../identity/scope-upgrade.ts";

export interface DeviceHandlerDeps {
  readonly pairing: Pick<Pairing, "list" | "approve" | "reject">;
  readonly manager: DeviceManager;
  readonly bearers: Pick<Bearers, "issue">;
  readonly upgrades: ScopeUpgrades;
  /** Ids of the devices that have an open connection. */
  readonly connectedDevices: () => ReadonlySet<string>;
}

type DeviceMethod =
  | "device.pair.list"
  | "device.pair.approve"
  | "device.pair.reject"
  | "device.pair.remove"
  | "device.pair.rename"
  | "device.token.rotate"
  | "device.token.revoke"
  | "device.token.issue"
  | "device.scopes.requestUpgrade"
  | "device.scopes.waitUpgrade";

export function deviceHandlers(deps: DeviceHandlerDeps): Pick<Handlers, DeviceMethod> {
  const { pairing, manager, bearers, upgrades } = deps;
  return {
    "device.pair.list": async ({ principal }) => {
      const { pending, paired } = await pairing.list(principal);
      const connected = deps.connectedDevices();
      return {
        pending: pending.map(toPairingRequest),
        paired: paired.map((device) => toPairedDevice(device, connected.has(device.deviceId))),
      };
    },
    "device.pair.approve": async ({ principal }, { requestId, expiresInMinutes }) => {
      const device = await pairing.approve(requestId, principal, expiresInMinutes);
      return { requestId, device: toPairedDevice(device, deps.connectedDevices().has(device.deviceId)) };
    },
    "device.pair.reject": async ({ principal }, { requestId }) => ({ requestId, ...(await pairing.reject(requestId, principal)) }),
    "device.pair.remove": async (context, { deviceId }) => {
      return { deviceId, ...(await manager.remove(deviceId, context.principal, askedBy(context))) };
    },
    "device.pair.rename": async ({ principal }, { deviceId, label }) => {
      await manager.rename({ deviceId, label }, principal);
      return { deviceId, label };
    },
    "device.token.rotate": async (context, { deviceId, role, scopes }) => {
      const { token, ...rotated } = await manager.rotateToken({ deviceId, role, scopes }, context.principal, askedBy(context));
      return {
        ...rotated,
        scopes: [...rotated.scopes],
        ...(token === undefined
          ? { tokenDelivery: "withheld-cross-device" as const }
          : { tokenDelivery: "in-band" as const, token: token.reveal() }),
      };
    },
    "device.token.revoke": async (context, { deviceId, role }) => {
      return { deviceId, role, ...(await manager.revokeToken({ deviceId, role }, context.principal, askedBy(context))) };
    },
    "device.token.issue": async ({ principal }, { label, scopes, expiresInMinutes }) => {
      const { expiresAtMs, ...issued } = await bearers.issue({ label, scopes, minutes: expiresInMinutes }, principal);
      return { ...issued, scopes: [...issued.scopes], ...(expiresAtMs === undefined ? {} : { expiresAtMs }) };
    },
    "device.scopes.requestUpgrade": ({ principal }, { scopes }) => upgrades.request(scopes, principal),
    "device.scopes.waitUpgrade": async ({ principal, signal }, { requestId }) => {
      const outcome = await upgrades.wait(requestId, principal, signal);
      if (outcome.status !== "approved") return { status: outcome.status, requestId };
      return { status: "approved", requestId, deviceToken: outcome.deviceToken.reveal(), scopes: [...outcome.scopes] };
    },
  };
}

function askedBy({ connection, signal }: Pick<Context, "connection" | "signal">): AskedBy {
  return { connId: connection?.connId, signal };
}

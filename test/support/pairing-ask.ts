import type { PairingAsk } from "../../packages/gateway/src/store/device-store.ts";

/** What an operator's device asks, new unless `over` says otherwise. */
export function pairingAsk(over: Partial<PairingAsk> = {}): PairingAsk {
  return {
    deviceId: "d1",
    publicKey: "k".repeat(43),
    displayName: undefined,
    platform: "linux",
    deviceFamily: undefined,
    clientId: "cli",
    clientMode: "cli",
    remoteIp: undefined,
    role: "operator",
    scopes: ["operator.read"],
    reason: "not-paired",
    isRepair: false,
    ...over,
  };
}

/** Devices: who is paired, who waits, and the decision about it. */
import type { Handlers } from "../dispatch/types.ts";
import { toPairedDevice, toPairingRequest } from "../identity/device-view.ts";
import type { Pairing } from "../identity/pairing.ts";

export interface DeviceHandlerDeps {
  readonly pairing: Pairing;
  /** Ids of the devices that have an open connection. */
  readonly connectedDevices: () => ReadonlySet<string>;
}

export function deviceHandlers(deps: DeviceHandlerDeps): Pick<Handlers, "device.pair.list" | "device.pair.approve" | "device.pair.reject"> {
  return {
    "device.pair.list": async () => {
      const { pending, paired } = await deps.pairing.list();
      const connected = deps.connectedDevices();
      return {
        pending: pending.map(toPairingRequest),
        paired: paired.map((device) => toPairedDevice(device, connected.has(device.deviceId))),
      };
    },
    "device.pair.approve": async ({ principal }, { requestId }) => {
      const device = await deps.pairing.approve(requestId, principal);
      return { requestId, device: toPairedDevice(device, deps.connectedDevices().has(device.deviceId)) };
    },
    "device.pair.reject": async ({ principal }, { requestId }) => ({ requestId, ...(await deps.pairing.reject(requestId, principal)) }),
  };
}

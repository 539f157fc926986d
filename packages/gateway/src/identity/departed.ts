/** Devices that were removed or revoked: what they started goes with them, also when the gateway stopped in between. */
import type { Clock } from "../kit/clock.ts";
import type { Log } from "../kit/log.ts";
import { liveGrant } from "../store/grants.ts";
import type { DeviceStore } from "../store/device-store.ts";
import type { RunStore } from "../store/store.ts";

export interface DepartedDeps {
  readonly devices: Pick<DeviceStore, "find">;
  readonly runs: Pick<RunStore, "cancel" | "listStarters">;
  readonly clock: Clock;
  readonly log: Log;
}

/** Before any run goes on. A device whose record cannot be read was not removed by anybody: its runs stay. */
export async function cancelRunsOfDeparted({ devices, runs, clock, log }: DepartedDeps): Promise<void> {
  for (const startedBy of await runs.listStarters()) {
    const deviceId = /^device:(.*)$/.exec(startedBy)?.[1];
    if (deviceId === undefined) continue;
    const state = await devices.find(deviceId);
    if (state.kind === "corrupt" || (state.kind === "paired" && liveGrant(state.device, "operator") !== undefined)) continue;
    const cancelled = await runs.cancel({ startedBy, by: "gateway" }, new Map(), clock.now());
    log.info({ deviceId, runs: cancelled.length }, "runs of a device that is not paired any more are cancelled");
  }
}

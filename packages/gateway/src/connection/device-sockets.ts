/** Open connections of each device: so many at once, since each may hold megabytes that it has not read. */
import { limits, ProtocolError } from "@portreeve/protocol";
import type { Principal } from "../principal/principal.ts";

export class DeviceSockets {
  readonly #open = new Map<string, number>();

  /** Why no connection more of `principal` may open, or undefined. */
  problemWith(principal: Principal): ProtocolError | undefined {
    if (principal.kind !== "device") return undefined;
    const { deviceId } = principal;
    const open = this.#open.get(deviceId) ?? 0;
    if (open < limits.socketsPerDevice) return undefined;
    return new ProtocolError("TOO_MANY_SOCKETS", `the device has ${open} open connections, as many as it may`, {
      details: { deviceId },
      remedy: "Close some of them and connect again, or give each program a device of its own.",
    });
  }

  /** Counts one until what it returns is called. */
  take(principal: Principal): () => void {
    if (principal.kind !== "device") return () => undefined;
    const { deviceId } = principal;
    this.#open.set(deviceId, (this.#open.get(deviceId) ?? 0) + 1);
    return () => {
      const left = (this.#open.get(deviceId) ?? 0) - 1;
      if (left > 0) this.#open.set(deviceId, left);
      else this.#open.delete(deviceId);
    };
  }
}

/** A refused connection as it is counted: by the device when it proved its key, else by the peer's address. */
import type { ProtocolError } from "@portreeve/protocol";
import type { Refusal } from "../dispatch/types.ts";

/** A peer of which nothing is known but its address. */
export function atDoor(address: string): Pick<Refusal, "principal" | "method"> {
  return { principal: `peer:${address}`, method: "connect" };
}

/** `error`: what the handshake was refused with. Its details name a device only after the device proved its key. */
export function toRefusal({ code, details }: ProtocolError, address: string): Refusal {
  const { deviceId, reason } = details;
  const door = atDoor(address);
  const rule = code === "PAIRING_REQUIRED" && typeof reason === "string" ? `${code}/${reason}` : code;
  return { ...door, principal: typeof deviceId === "string" ? `device:${deviceId}` : door.principal, rule };
}

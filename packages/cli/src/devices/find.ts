/** The one request or device that the beginning of an id means. Pure. */
import { CliError } from "../exit.ts";
import { oneLine } from "../output.ts";
import { liveGrants, nameOf, tellRights, type DeviceList, type PairedDevice, type PairingRequest } from "./words.ts";

/** The one waiting request whose id begins with `id`. @throws CliError when there is none or more than one. */
export function findRequest({ pending, paired }: DeviceList, id: string): PairingRequest {
  const found = pending.filter(({ requestId }) => id !== "" && requestId.startsWith(id));
  const tell = (request: PairingRequest): string => `${request.requestId}  ${nameOf(request)} asks for: ${tellRights(request)}`;
  const [first, ...others] = found;
  if (first !== undefined && others.length === 0) return first;
  if (first !== undefined) throw ambiguous("waiting requests", id, found.map(tell));
  const ofDevice = pending.find(({ deviceId }) => id !== "" && deviceId.startsWith(id));
  if (ofDevice !== undefined) {
    throw new CliError("failed", `${id} is a device; a decision is about its request, ${ofDevice.requestId}.`, {
      code: "UNKNOWN_REQUEST",
      remedy: "See what it asks for: ./portreeve devices list",
    });
  }
  const isPaired = paired.some(({ deviceId }) => id !== "" && deviceId.startsWith(id));
  throw new CliError(
    "failed",
    isPaired ? `${id} is a paired device, and no request of it waits.` : `No waiting request has the id ${id}.`,
    {
      code: "UNKNOWN_REQUEST",
      remedy: "See who waits: ./portreeve devices list (a request expires after 5 minutes; the device makes a new one when it connects).",
    },
  );
}

/** The one paired device whose id begins with `id`. @throws CliError when there is none or more than one. */
export function findDevice({ pending, paired }: DeviceList, id: string): PairedDevice {
  const found = paired.filter(({ deviceId }) => id !== "" && deviceId.startsWith(id));
  const tell = (device: PairedDevice): string => `${device.deviceId}  ${nameOf(device)} may: ${tellRights(device)}`;
  const [first, ...others] = found;
  if (first !== undefined && others.length === 0) return first;
  if (first !== undefined) throw ambiguous("paired devices", id, found.map(tell));
  const waits = pending.find(({ requestId, deviceId }) => id !== "" && (requestId.startsWith(id) || deviceId.startsWith(id)));
  const remedy =
    waits === undefined
      ? "See who is paired: ./portreeve devices list"
      : `It only waits. To turn it away: ./portreeve devices reject ${waits.requestId}`;
  throw new CliError("failed", `No paired device has the id ${id}.`, { code: "UNKNOWN_DEVICE", remedy });
}

/** The role that a command is about: the one given, else the only one there is. @throws CliError */
export function findRole(device: PairedDevice, role: string | undefined): string {
  const roles = liveGrants(device).map((grant) => grant.role);
  const [only, ...others] = roles;
  if (role !== undefined && roles.includes(role)) return role;
  if (role === undefined && only !== undefined && others.length === 0) return only;
  if (only === undefined) {
    throw new CliError("failed", `Everything ${nameOf(device)} was approved for is revoked already.`, {
      code: "UNKNOWN_ROLE",
      remedy: "See what each device may do: ./portreeve devices list",
    });
  }
  const message =
    role === undefined ? `${nameOf(device)} has several roles.` : `${nameOf(device)} is not approved for the role ${oneLine(role)}.`;
  throw new CliError("usage", message, { remedy: `Name one: ${roles.map((one) => `--role ${oneLine(one)}`).join(" or ")}` });
}

function ambiguous(what: string, id: string, candidates: readonly string[]): CliError {
  return new CliError("usage", `${candidates.length} ${what} begin with ${id}:\n${candidates.map((line) => `  ${line}`).join("\n")}`, {
    remedy: "Give more of the id.",
  });
}

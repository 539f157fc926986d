/** `devices remove`, `rename`, `rotate` and `revoke`: what is done to a device that is paired. */
import type { Access } from "../access.ts";
import { parseScopes } from "../commands/call.ts";
import type { ConnectingFlags } from "../connecting.ts";
import { oneLine, writeJson, writeLine, type Io } from "../output.ts";
import { findDevice, findRole } from "./find.ts";
import { callNewer, openAsManager, readDevices } from "./manage.ts";
import { nameOf, shortId, tellScopes } from "./words.ts";

export interface TokenFlags extends ConnectingFlags {
  readonly role?: string;
  readonly scopes?: string;
}

export async function remove(io: Io, access: Access, { id, flags }: { id: string; flags: ConnectingFlags }): Promise<void> {
  const device = findDevice(await readDevices(access), id);
  using client = await openAsManager(access);
  const { deviceId } = device;
  const result = await callNewer(client, { method: "device.pair.remove", params: { deviceId }, what: "remove devices" });
  if (flags.json === true) return writeJson(io, result);
  writeLine(io, `Removed: ${nameOf(device)} is not paired any more; if it returns, it waits for an approval.`);
  writeCancelled(io, result.cancelledRuns);
}

export async function rename(
  io: Io,
  access: Access,
  { id, label, flags }: { id: string; label: string; flags: ConnectingFlags },
): Promise<void> {
  const device = findDevice(await readDevices(access), id);
  using client = await openAsManager(access);
  const params = { deviceId: device.deviceId, label };
  const result = await callNewer(client, { method: "device.pair.rename", params, what: "rename devices" });
  if (flags.json === true) writeJson(io, result);
  else writeLine(io, `Renamed: ${nameOf(device)} is now called ${oneLine(label)}.`);
}

export async function rotate(io: Io, access: Access, { id, flags }: { id: string; flags: TokenFlags }): Promise<void> {
  const device = findDevice(await readDevices(access), id);
  const scopes = parseScopes(flags.scopes);
  using client = await openAsManager(access, device.scopes);
  // Read before the call: a device that rotates its own token loses this connection with the answer.
  const { gatewayKey } = client;
  const params = {
    deviceId: device.deviceId,
    role: findRole(device, flags.role),
    ...(scopes === undefined ? {} : { scopes: [...scopes] }),
  };
  const result = await callNewer(client, { method: "device.token.rotate", params, what: "rotate tokens" });
  const isOwn = device.deviceId === (await access.deviceId());
  if (isOwn && result.token !== undefined) await access.keepToken(gatewayKey, result.token);
  if (flags.json === true) return writeJson(io, result);
  writeLine(io, `Rotated: the old token of ${nameOf(device)} is worthless; the next one may: ${tellScopes(result.scopes)}.`);
  writeLine(
    io,
    isOwn
      ? "This terminal has the next one."
      : device.approvedVia === "bearer"
        ? "Nobody has it. To get the next one: rotate again with --json, which prints it."
        : "The device gets it when it connects with the gateway's secret. To carry it there by hand: rotate with --json, which prints it.",
  );
}

export async function revoke(io: Io, access: Access, { id, flags }: { id: string; flags: TokenFlags }): Promise<void> {
  const device = findDevice(await readDevices(access), id);
  const role = findRole(device, flags.role);
  using client = await openAsManager(access);
  const params = { deviceId: device.deviceId, role };
  const result = await callNewer(client, { method: "device.token.revoke", params, what: "revoke tokens" });
  if (flags.json === true) return writeJson(io, result);
  writeLine(io, `Revoked: ${nameOf(device)} may do nothing as ${oneLine(role)}; if it returns, it waits for an approval.`);
  writeCancelled(io, result.cancelledRuns);
  writeLine(io, `To forget it altogether: ./portreeve devices remove ${shortId(device.deviceId)}`);
}

/** Undefined: the gateway does not say. */
function writeCancelled(io: Io, runs: number | undefined = 0): void {
  if (runs > 0) writeLine(io, `${runs === 1 ? "One run" : `${runs} runs`} that it had started ${runs === 1 ? "is" : "are"} cancelled.`);
}

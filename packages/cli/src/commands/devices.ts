/** `devices`: who is paired, who waits, and the owner's decision. Works even for an owner whose own device waits. */
import type { PairedDevice, PairingRequest } from "@portreeve/protocol";
import type { Command } from "commander";
import type { Access } from "../access.ts";
import { connecting, findAccess, withExamples, type ConnectingFlags } from "../connecting.ts";
import { CliError, usageError } from "../exit.ts";
import { toMinute, toTable, writeJson, writeLine, type Io } from "../output.ts";

export interface DeviceList {
  readonly pending: readonly PairingRequest[];
  readonly paired: readonly PairedDevice[];
}

/** A device's own token without admin sees and manages that device alone. */
const owners: readonly string[] = ["operator.admin"];

export function addDevices(program: Command, io: Io): void {
  const devices = program.command("devices").description("paired devices and those that wait for an approval");

  const list = connecting(devices.command("list").description("devices that wait for an approval, then those that are paired"));
  withExamples(list, "./portreeve devices list", "./portreeve devices list --json").action((flags: ConnectingFlags) => runList(io, flags));

  const approve = connecting(
    devices.command("approve <id>").description("approve a waiting device; ID is the request's, or its beginning"),
  );
  withExamples(approve, "./portreeve devices approve 4f9d1c2a").action((id: string, flags: ConnectingFlags) => runApprove(io, id, flags));

  const reject = connecting(devices.command("reject <id>").description("reject a waiting device; ID is the request's, or its beginning"));
  withExamples(reject, "./portreeve devices reject 4f9d1c2a").action((id: string, flags: ConnectingFlags) => runReject(io, id, flags));
}

async function runList(io: Io, flags: ConnectingFlags): Promise<void> {
  const list = await readList(await findAccess(io, flags));
  if (flags.json === true) writeJson(io, list);
  else writeLine(io, showDevices(list));
}

async function runApprove(io: Io, id: string, flags: ConnectingFlags): Promise<void> {
  const access = await findAccess(io, flags);
  const request = findRequest(await readList(access), id);
  using client = await access.openAsOwner([...new Set([...owners, ...scopesToApprove(request)])]);
  const result = await client.call("device.pair.approve", { requestId: request.requestId });
  if (flags.json === true) writeJson(io, result);
  else writeLine(io, `Approved: ${nameOf(request)} may connect with ${request.scopes.join(", ") || "no scopes"}.`);
}

async function runReject(io: Io, id: string, flags: ConnectingFlags): Promise<void> {
  const access = await findAccess(io, flags);
  const request = findRequest(await readList(access), id);
  using client = await access.openAsOwner(owners);
  const result = await client.call("device.pair.reject", { requestId: request.requestId });
  if (flags.json === true) writeJson(io, result);
  else writeLine(io, `Rejected: ${nameOf(request)} is not let in, and is asked about again if it returns.`);
}

async function readList(access: Access): Promise<DeviceList> {
  using client = await access.openAsOwner(owners);
  return await client.call("device.pair.list", {});
}

/** What an approver must hold: pairing, and everything the approval grants. Pure. */
export function scopesToApprove({ role, roles, scopes }: Pick<PairingRequest, "role" | "roles" | "scopes">): readonly string[] {
  const isOperatorOnly = [role, ...roles].every((one) => one === "operator");
  return [...new Set(["operator.pairing", ...scopes, ...(isOperatorOnly ? [] : ["operator.admin"])])];
}

/** The one waiting request whose id begins with `id`. @throws CliError when there is none or more than one. */
export function findRequest({ pending }: DeviceList, id: string): PairingRequest {
  const [first, ...others] = pending.filter(({ requestId }) => id !== "" && requestId.startsWith(id));
  if (first !== undefined && others.length === 0) return first;
  if (first !== undefined) throw usageError(`${others.length + 1} waiting requests begin with ${id}; give more of the id.`);
  throw new CliError("failed", `No waiting request has the id ${id}.`, {
    code: "UNKNOWN_REQUEST",
    remedy: "See who waits: ./portreeve devices list (a request expires after 5 minutes; the device makes a new one when it connects).",
  });
}

/** Two tables, the waiting ones first. Pure. */
export function showDevices({ pending, paired }: DeviceList): string {
  const waiting = pending.map((request) => [
    shortId(request.requestId),
    nameOf(request),
    request.role,
    request.scopes.join(" "),
    toMinute(request.ts),
    `${request.reason}${request.remoteIp === undefined ? "" : ` from ${request.remoteIp}`}`,
  ]);
  const known = paired.map((device) => [
    shortId(device.deviceId),
    nameOf(device),
    device.role,
    device.scopes.join(" "),
    toMinute(device.createdAtMs),
    device.connected ? "connected" : toMinute(device.lastSeenAtMs),
    device.approvedVia === "silent" ? "silently (local)" : "by the owner",
  ]);
  return [
    ...(waiting.length === 0
      ? []
      : [`Waiting (./portreeve devices approve ID):\n${toTable(["ID", "NAME", "ROLE", "SCOPES", "SINCE", "WHY"], waiting)}`]),
    known.length === 0
      ? "No device is paired."
      : `Paired:\n${toTable(["DEVICE", "NAME", "ROLE", "SCOPES", "SINCE", "LAST SEEN", "APPROVED"], known)}`,
  ].join("\n\n");
}

function nameOf({ displayName, clientId, deviceId }: Pick<PairedDevice, "displayName" | "clientId" | "deviceId">): string {
  return `${displayName ?? clientId} (${shortId(deviceId)})`;
}

function shortId(id: string): string {
  return id.slice(0, 8);
}

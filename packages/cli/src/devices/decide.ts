/** `devices approve` and `devices reject`. */
import { RemoteError } from "@portreeve/client";
import type { Result } from "@portreeve/protocol/wire";
import type { Access } from "../access.ts";
import type { ConnectingFlags } from "../connecting.ts";
import { CliError } from "../exit.ts";
import { oneLine, writeJson, writeLine, type Io } from "../output.ts";
import { findRequest } from "./find.ts";
import { cannot, openAsManager, readDevices } from "./manage.ts";
import { showRequest } from "./show.ts";
import { nameOf, shortId, tellRights, tellSpan, type DeviceList, type PairingRequest } from "./words.ts";

export interface ApproveFlags extends ConnectingFlags {
  readonly yes?: boolean;
  readonly minutes?: number;
}

export async function approve(io: Io, access: Access, { id, flags }: { id: string; flags: ApproveFlags }): Promise<void> {
  const list = await readDevices(access);
  const request = findRequest(list, id);
  if (flags.yes !== true) await assertAgreed(io, { list, request, flags });
  const result = await sendApproval(access, request, flags.minutes);
  if (flags.json === true) return writeJson(io, result);
  const span = flags.minutes === undefined ? "" : ` for ${tellSpan(flags.minutes * 60_000)}, then back to what it had`;
  writeLine(io, `Approved${span}: ${nameOf(request)} may: ${tellRights(request)}. It is let in when it connects again.`);
  if (request.words !== undefined)
    writeLine(io, `Its words: ${oneLine(request.words)}. If the device shows other ones, somebody stands between.`);
  writeLine(io, `To take it back: ./portreeve devices revoke ${shortId(request.deviceId)}`);
}

export async function reject(io: Io, access: Access, { id, flags }: { id: string; flags: ConnectingFlags }): Promise<void> {
  const request = findRequest(await readDevices(access), id);
  using client = await openAsManager(access);
  const result = await client.call("device.pair.reject", { requestId: request.requestId });
  if (flags.json === true) writeJson(io, result);
  else writeLine(io, `Rejected: ${nameOf(request)} is not let in, and is asked about again if it returns.`);
}

/** Shows what is asked for and asks for a yes. @throws CliError when nobody is there to ask, or the answer is another. */
async function assertAgreed(
  io: Io,
  { list, request, flags }: { list: DeviceList; request: PairingRequest; flags: ApproveFlags },
): Promise<void> {
  const known = list.paired.find(({ deviceId }) => deviceId === request.deviceId);
  const shown = showRequest(request, known, Date.now());
  const minutes = flags.minutes === undefined ? "" : ` --minutes ${flags.minutes}`;
  const command = `./portreeve devices approve ${request.requestId}${minutes}`;
  if (io.ask === undefined) {
    throw new CliError("usage", `Approving needs a yes, and there is no terminal to ask on.\n${shown}`, {
      code: "CONFIRMATION_NEEDED",
      remedy: `To approve exactly this: ${command} --yes`,
    });
  }
  io.err(`${shown}\n`);
  const span = flags.minutes === undefined ? "" : ` for ${tellSpan(flags.minutes * 60_000)}`;
  const answer = await io.ask(`Approve it${span}? (y/N) `);
  if (/^\s*y(es)?\s*$/i.test(answer)) return;
  throw new CliError("failed", "Not approved; nothing was changed.", {
    code: "NOT_CONFIRMED",
    remedy: `It still waits. To turn it away: ./portreeve devices reject ${shortId(request.requestId)}`,
  });
}

async function sendApproval(access: Access, request: PairingRequest, minutes: number | undefined): Promise<Result<"device.pair.approve">> {
  using client = await openAsManager(access, request.scopes);
  const { requestId } = request;
  if (minutes === undefined) return await client.call("device.pair.approve", { requestId });
  try {
    return await client.call("device.pair.approve", { requestId, expiresInMinutes: minutes });
  } catch (error) {
    if (!(error instanceof RemoteError && error.code === "INVALID_PARAMS" && error.message.includes("expiresInMinutes"))) throw error;
    throw cannot(client, { what: "approve for a limited time", why: "it does not know expiresInMinutes", error });
  }
}

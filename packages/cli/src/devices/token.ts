/** `devices token`: a bearer for programs that speak HTTP, and what it may do. */
import { normaliseScopes, type ParamsInput, type Result } from "@portreeve/protocol/wire";
import type { Access } from "../access.ts";
import { parseScopes } from "../commands/call.ts";
import type { ConnectingFlags } from "../connecting.ts";
import { oneLine, toMinute, writeJson, writeLine, type Io } from "../output.ts";
import { callNewer } from "./manage.ts";
import { shortId, tellScopes } from "./words.ts";

export interface BearerFlags extends ConnectingFlags {
  readonly scopes?: string;
  readonly minutes?: number;
}

type BearerAsk = ParamsInput<"device.token.issue">;

export async function issueToken(io: Io, access: Access, { name, flags }: { name: string; flags: BearerFlags }): Promise<void> {
  using client = await access.openAsOwner(["operator.admin"]);
  const params: BearerAsk = {
    label: name,
    // The gateway checks the names, and says which ones there are.
    scopes: [...normaliseScopes(parseScopes(flags.scopes) ?? ["operator.read"])] as BearerAsk["scopes"],
    ...(flags.minutes === undefined ? {} : { expiresInMinutes: flags.minutes }),
  };
  const issued = await callNewer(client, { method: "device.token.issue", params, what: "issue bearers" });
  if (flags.json === true) writeJson(io, issued);
  else writeLine(io, showBearer(issued));
}

/** Pure. */
export function showBearer({ deviceId, label, scopes, token, expiresAtMs }: Result<"device.token.issue">): string {
  const id = shortId(deviceId);
  return [
    `Token    ${oneLine(token, 256)}`,
    `Device   ${oneLine(label)} (${id})`,
    `May      ${tellScopes(scopes)}${expiresAtMs === undefined ? "" : `, until ${toMinute(expiresAtMs)}`}`,
    "",
    "It is shown this once. Whoever has it is that device: no key is asked for. Send it as",
    "  Authorization: Bearer TOKEN",
    "over https, or http on the gateway's own machine.",
    `To replace it: ./portreeve devices rotate ${id} --json. To end it: ./portreeve devices remove ${id}`,
  ].join("\n");
}

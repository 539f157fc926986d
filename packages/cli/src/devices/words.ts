/** What a device is, asks for and may do, in words a person reads. All pure. */
import { covers, type Result } from "@portreeve/protocol/wire";
import { oneLine } from "../output.ts";

export type DeviceList = Result<"device.pair.list">;
export type PairingRequest = DeviceList["pending"][number];
export type PairedDevice = DeviceList["paired"][number];
/** What a device may do in one role. */
export type DeviceGrant = PairedDevice["tokens"][number];

/** In the order they are told; a scope that is not here is told by its own name. */
const scopeWords: Readonly<Record<string, string>> = {
  "operator.read": "read",
  "operator.write": "write",
  "operator.sessions.read": "read sessions",
  "operator.sessions.write": "write sessions",
  "operator.talk": "talk",
  "operator.talk.secrets": "read talk secrets",
  "operator.questions": "answer questions",
  "operator.approvals": "approve actions",
  "operator.pairing": "pair devices",
};

const everything = "everything (admin)";

/** `read, write`; what admin brings with it is not listed again. */
export function tellScopes(scopes: readonly string[]): string {
  const isAdmin = scopes.includes("operator.admin");
  const known = isAdmin ? [] : Object.keys(scopeWords).filter((scope) => scopes.includes(scope));
  const others = scopes.filter((scope) => scope !== "operator.admin" && !Object.hasOwn(scopeWords, scope));
  const rest = isAdmin ? others.filter((scope) => !covers(["operator.admin"], scope)) : others;
  const words = [...(isAdmin ? [everything] : []), ...known.map((scope) => scopeWords[scope] ?? scope), ...rest];
  return oneLine(words.join(", "), 400) || "nothing";
}

/** As `tellScopes`, with any role beside that of an operator. */
export function tellRights({ roles, scopes }: { readonly roles: readonly string[]; readonly scopes: readonly string[] }): string {
  const others = roles.filter((role) => role !== "operator").map((role) => `act as ${oneLine(role)}`);
  return [...(roles.includes("operator") || others.length === 0 ? [tellScopes(scopes)] : []), ...others].join(", ");
}

/** What an approval of `request` would add to what the device `known` (undefined: none) was approved for. */
export function tellNew(request: PairingRequest, known: PairedDevice | undefined): string {
  if (known === undefined) return "the device itself";
  const approved = liveGrants(known);
  const newRoles = request.roles.filter((role) => !approved.some((grant) => grant.role === role));
  // What its token covers may be narrower than what was approved; only operators have scopes.
  const held = newRoles.includes(request.role) ? [] : known.scopes;
  const newScopes = request.scopes.filter((scope) => !covers(held, scope));
  const facts = (["platform", "deviceFamily"] as const)
    .filter((fact) => request[fact] !== known[fact])
    .map((fact) => `${fact} ${known[fact] ?? "unknown"} → ${request[fact] ?? "unknown"}`);
  const added = [
    ...newRoles.map((role) => `the role ${oneLine(role)}`),
    ...(newScopes.length === 0 ? [] : [tellScopes(newScopes)]),
    ...(request.reason === "metadata-upgrade" ? facts : []),
  ];
  return added.join(", ") || "nothing";
}

/** What the device may do, role by role, leaving out what was revoked. */
export function liveGrants({ tokens }: PairedDevice): readonly DeviceGrant[] {
  return tokens.filter((grant) => grant.revokedAtMs === undefined);
}

/** The name it goes by, safe to tell apart: anyone can call itself anything, nobody else has its id. */
export function nameOf({ displayName, clientId, deviceId }: Pick<PairedDevice, "displayName" | "clientId" | "deviceId">): string {
  return `${oneLine(displayName ?? clientId)} (${shortId(deviceId)})`;
}

/** As `nameOf`, by the name its operator gave it, if it is a device that we know. */
export function nameOfRequest(request: PairingRequest, known: PairedDevice | undefined): string {
  return nameOf({ ...request, displayName: known?.operatorLabel ?? request.displayName });
}

export function shortId(id: string): string {
  return id.slice(0, 8);
}

export function tellOrigin(remoteIp: string | undefined): string {
  return remoteIp ?? "this machine";
}

/** A span of time in its largest unit: `12 s`, `3 min`, `5 h`, `9 days`. */
export function tellSpan(spanMs: number): string {
  const seconds = Math.max(0, Math.round(spanMs / 1_000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.floor(hours / 24)} days`;
}

/** Records of a source judged one by one: devices, sessions and jobs. Everything is checked; nothing is taken on trust. Pure. */
import { createHash } from "node:crypto";
import { isRecord, scopeNames } from "@portreeve/protocol";
import { isKnownModel, withoutModel } from "./source-models.ts";
import { type Candidate, left, type SourceDevice, type SourceJob, type SourceSession, usable } from "./source.ts";

/** Shown in reports: one line, not long. */
export function nameOf(value: unknown, fallback = "(without a name)"): string {
  const text = typeof value === "string" ? value.replace(/[\p{Cc}\p{Cf}\s]+/gu, " ").trim() : "";
  return text === "" ? fallback : text.slice(0, 120);
}

/** `id`: the key under which the source has it. */
export function judgeDevice(id: string, record: unknown): Candidate<SourceDevice> {
  if (!isRecord(record)) return left(nameOf(id), "its record cannot be read");
  const what = `${nameOf(record["displayName"], "device")} (${nameOf(id).slice(0, 8)})`;
  const { deviceId, publicKey } = record;
  if (typeof deviceId !== "string" || deviceId !== id || typeof publicKey !== "string")
    return left(what, "its record names no device and key");
  if (!/^[A-Za-z0-9_-]{43}$/.test(publicKey) || createHash("sha256").update(Buffer.from(publicKey, "base64url")).digest("hex") !== deviceId)
    return left(what, "its id is not the hash of its key");
  const roles = rolesOf(record);
  if (roles.length === 0) return left(what, "it has no role that is not revoked");
  const asked = strings(record["approvedScopes"]) ?? strings(record["scopes"]) ?? [];
  const known: readonly string[] = scopeNames;
  const scopes = roles.includes("operator") ? asked.filter((scope) => known.includes(scope)) : [];
  const dropped = roles.includes("operator") ? asked.filter((scope) => !known.includes(scope)) : [];
  const value = {
    deviceId,
    publicKey,
    displayName: short(record["displayName"]),
    platform: short(record["platform"]),
    deviceFamily: short(record["deviceFamily"]),
    clientId: short(record["clientId"]) ?? "unknown",
    clientMode: short(record["clientMode"]) ?? "unknown",
    roles,
    scopes,
  };
  return usable(
    what,
    value,
    dropped.length === 0 ? [] : [`without ${dropped.map((scope) => nameOf(scope)).join(", ")}, which there is not here`],
  );
}

/** A role whose token was revoked was taken away. */
function rolesOf(record: Readonly<Record<string, unknown>>): readonly ("operator" | "node")[] {
  const tokens = isRecord(record["tokens"]) ? record["tokens"] : {};
  const named = strings(record["roles"]) ?? strings([record["role"]]) ?? [];
  return (["operator", "node"] as const).filter((role) => {
    const token = Object.hasOwn(tokens, role) ? tokens[role] : undefined;
    return named.includes(role) && isRecord(token) && token["revokedAtMs"] === undefined;
  });
}

type SessionFacts = Omit<SourceSession, "messages">;

export function judgeSession(rawKey: string, entry: unknown, agentId: string): Candidate<SessionFacts> {
  const key = rawKey.toLowerCase();
  const what = nameOf(key);
  if (!isRecord(entry)) return left(what, "its record cannot be read");
  const [, owner, rest] = /^agent:([a-z0-9][a-z0-9_-]{0,63}):(.+)$/s.exec(key) ?? [];
  if (owner === undefined || rest === undefined || key.length > 512) return left(what, "it is no conversation with an agent");
  if (owner !== agentId) return left(what, `it lies with the agent ${nameOf(agentId)}, whose it is not`);
  // A session that a person made beside another one names that as its parent, and is nobody's child.
  if (/(^|:)subagent:/.test(key) || isName(entry["spawnedBy"]) || (time(entry["spawnDepth"]) ?? 0) > 0)
    return left(what, "a sub-agent's: it was for one task, and what it was limited to does not come along");
  if (/(^|:)(cron|hook|acp|heartbeat):?/.test(rest)) return left(what, "of a job, hook or other program: those make their own here");
  const sessionId = entry["sessionId"];
  if (typeof sessionId !== "string" || !/^[A-Za-z0-9_-]{1,128}$/.test(sessionId))
    return left(what, "it has no session id that can be read");
  const updatedAtMs = time(entry["updatedAt"]) ?? 0;
  const createdAtMs = time(entry["createdAt"]) ?? time(entry["sessionStartedAt"]) ?? updatedAtMs;
  const label = typeof entry["label"] === "string" && entry["label"] !== "" ? entry["label"].slice(0, 512) : undefined;
  const isArchived = time(entry["archivedAt"]) !== undefined;
  const times = { createdAtMs: Math.min(createdAtMs, updatedAtMs), updatedAtMs };
  const chosen = modelOf(entry);
  const model = chosen !== undefined && isKnownModel(chosen) ? chosen : undefined;
  return usable(
    model === undefined ? what : `${what} (its model: ${model})`,
    { key, agentId, sessionId, label, model, ...times, isArchived },
    chosen === undefined || model !== undefined ? [] : [withoutModel(chosen, nameOf)],
  );
}

/** The one that somebody chose for the session; what the gateway fell back to by itself is none. */
function modelOf({ providerOverride: provider, modelOverride: name, modelOverrideSource: by = "user" }: Record<string, unknown>) {
  if (by !== "user" || !isName(name)) return undefined;
  return isName(provider) ? `${provider}/${name}` : name;
}

const jobFields = [
  "name",
  "displayName",
  "description",
  "agentId",
  "sessionKey",
  "deleteAfterRun",
  "schedule",
  "sessionTarget",
  "wakeMode",
  "payload",
  "delivery",
];

export function judgeJob(record: unknown): Candidate<SourceJob> {
  if (!isRecord(record)) return left("(a job)", "its record cannot be read");
  const what = nameOf(record["name"]);
  const { id } = record;
  if (typeof id !== "string" || id === "" || id.length > 200) return left(what, "it has no id");
  if (!isRecord(record["schedule"]) || !isRecord(record["payload"])) return left(what, "it has no schedule, or nothing to do");
  if (record["declarationKey"] !== undefined) return left(what, "the old gateway's own, made by itself");
  const other = ["trigger", "pacing", "failureAlert"].find((name) => record[name] !== undefined && record[name] !== null);
  if (other !== undefined) return left(what, `its ${other} is not supported`);
  const job = Object.fromEntries(jobFields.flatMap((name) => (record[name] === undefined ? [] : [[name, record[name]]])));
  return usable(what, { id, job, wasEnabled: record["enabled"] === true });
}

export function strings(value: unknown): readonly string[] | undefined {
  return Array.isArray(value) && value.every((item) => typeof item === "string") ? value : undefined;
}

function isName(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}

function time(value: unknown): number | undefined {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}

function short(value: unknown): string | undefined {
  return typeof value === "string" && value.trim() !== "" ? value.slice(0, 200) : undefined;
}

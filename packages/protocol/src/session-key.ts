/** Session keys: `agent:<agentId>:<rest>`, lower case. Depth, role and lineage are never read from a key. */

export const mainKey = "main";

/** The canonical key of what a caller wrote: a short form belongs to `agentId`. Pure. */
export function toSessionKey(raw: string, agentId: string): string {
  const key = raw.trim().toLowerCase();
  return key.startsWith("agent:") ? key : `agent:${agentId}:${key}`;
}

/** The agent a canonical key belongs to, or undefined when the key is not canonical. */
export function agentOfSessionKey(key: string): string | undefined {
  const [prefix, agentId, rest] = key.split(":", 3);
  return prefix === "agent" && agentId !== undefined && agentId !== "" && rest !== undefined && rest !== "" ? agentId : undefined;
}

export function mainSessionKey(agentId: string): string {
  return `agent:${agentId}:${mainKey}`;
}

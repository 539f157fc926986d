/** Least privilege: which scopes one call asks for. */
import { isRecord, methodTable, scopeToInvokeNode } from "@portreeve/protocol/wire";

/** Calls whose parameters decide between the scopes of the table: when they need the widest. A test holds them to the definitions. */
const needsWidest: Readonly<Record<string, (params: Readonly<Record<string, unknown>>) => boolean>> = {
  "sessions.patch": (params) =>
    ["spawnedBy", "spawnDepth", "subagentRole", "subagentControlScope"].some((field) => params[field] !== undefined),
  agent: (params) => typeof params["message"] === "string" && isSessionCommand(params["message"]),
  "node.invoke": ({ command, params }) => typeof command === "string" && scopeToInvokeNode(command, params) === "operator.admin",
};

/** Whether an agent's message is a command that replaces its session, which only an admin may give. */
export function isSessionCommand(message: string): boolean {
  return /^\/(new|reset)(\s|$)/.test(message);
}

/** The least scopes under which `method` can succeed; none for a method that needs none or that we do not know. */
export function leastScopes(method: string, params: unknown = {}): readonly string[] {
  const scopes = Object.hasOwn(methodTable, method) ? (methodTable[method]?.scopes ?? []) : [];
  const widest = Object.hasOwn(needsWidest, method) && isRecord(params) && needsWidest[method]?.(params) === true;
  const chosen = widest ? scopes.at(-1) : scopes[0];
  return chosen === undefined ? [] : [chosen];
}

/** The scopes a call asks for: the explicit ones exactly, also when empty; else the least. */
export function scopesOf(method: string, params: unknown, explicit: readonly string[] | undefined): readonly string[] {
  return explicit ?? leastScopes(method, params);
}

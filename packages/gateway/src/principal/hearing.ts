/** Who may hear an event: the one rule of every door that tells events. Pure. */
import { covers, eventDefinitions, type EventName } from "@portreeve/protocol";
import type { Principal } from "./principal.ts";

/** Whether `principal` may hear `name` at all: its scope, and for whoever is no operator only what is for everyone. Fails closed. */
export function mayHear(principal: Principal | undefined, name: EventName): boolean {
  if (principal === undefined) return false;
  const { scope } = eventDefinitions[name];
  if (scope === "everyone") return true;
  // Whoever it is for is told it directly; nobody hears it by holding a scope of that name.
  if (scope === "addressee") return false;
  const isOperator = principal.kind === "secret" || (principal.kind === "device" && principal.role === "operator");
  return isOperator && covers(principal.scopes, scope);
}

/** What a caller that may not is told: the same words at every door. */
import { ProtocolError } from "@portreeve/protocol";
import type { Permission } from "./principal.ts";

/** @throws ProtocolError WRONG_CALLER, MISSING_SCOPE */
export function assertPermitted(permission: Permission): void {
  if (permission.kind === "permitted") return;
  if (permission.kind === "wrong-caller") throw new ProtocolError("WRONG_CALLER", `unauthorized role: ${permission.role}`);
  const { scope } = permission;
  throw new ProtocolError("MISSING_SCOPE", `missing scope: ${scope}`, {
    details: { missingScope: scope, requiredScopes: [scope] },
    remedy: `connect with the scope ${scope}; if the device is not approved for it, that asks for an approval`,
  });
}

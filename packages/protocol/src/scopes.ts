/** The scope names of both wire versions, and the two pure functions every decision about them is made of. */

/** Every scope a device may be granted here. Other strings are legal on the wire and match only themselves. */
export const scopeNames = [
  "operator.admin",
  "operator.approvals",
  "operator.pairing",
  "operator.questions",
  "operator.read",
  "operator.sessions.read",
  "operator.sessions.write",
  "operator.talk",
  "operator.talk.secrets",
  "operator.write",
] as const;

export type Scope = (typeof scopeNames)[number];

/** What each scope brings with it, in full: no entry is looked up twice. `operator.admin` is handled in `covers`. */
const implied: Readonly<Record<string, readonly string[]>> = {
  "operator.write": ["operator.read", "operator.talk", "operator.sessions.read", "operator.sessions.write"],
  "operator.read": ["operator.sessions.read"],
  "operator.sessions.write": ["operator.sessions.read"],
};

/** Whether holding `have` permits what asks for `need`. Total: an unknown scope is covered by itself or by admin. */
export function covers(have: readonly string[], need: string): boolean {
  return have.some(
    (scope) => scope === need || (scope === "operator.admin" && need.startsWith("operator.")) || impliedBy(scope).includes(need),
  );
}

/** Whether `have` permits every scope of `needs`; nothing is needed for an empty list. */
export function coversAll(have: readonly string[], needs: readonly string[]): boolean {
  return needs.every((need) => covers(have, need));
}

/** The largest set that both sides cover. Sorted, without duplicates; an empty side gives an empty set. */
export function meet(a: readonly string[], b: readonly string[]): readonly string[] {
  const shared = [...a.filter((scope) => covers(b, scope)), ...b.filter((scope) => covers(a, scope))];
  // Two scopes of which neither covers the other may still have one beneath them in common.
  const beneath = a.flatMap(impliedBy).filter((scope) => covers(b, scope) && !covers(shared, scope));
  return normaliseScopes([...shared, ...beneath]);
}

/** Trimmed, without blanks and duplicates, sorted: the form in which scope lists are stored and compared. */
export function normaliseScopes(scopes: readonly string[]): readonly string[] {
  return [...new Set(scopes.map((scope) => scope.trim()).filter((scope) => scope !== ""))].sort();
}

function impliedBy(scope: string): readonly string[] {
  // Own properties only: a scope may be called like one of Object's.
  return Object.hasOwn(implied, scope) ? (implied[scope] ?? []) : [];
}

/** The one id that a person means by the part of it that a table shows. */
import type { AuditStore } from "../store/audit-store.ts";

/** `whole`: the text itself where it is nobody's part. */
export type MeantId = { readonly kind: "whole"; readonly id: string } | { readonly kind: "ambiguous"; readonly ids: readonly string[] };

/** Shorter texts are parts of too many. */
const shortest = 4;
const mostNamed = 5;

/** What has the text as its whole id comes first; then what begins with it, or, a run, ends with it. */
export async function findMeantId(audit: Pick<AuditStore, "findIds">, text: string): Promise<MeantId> {
  if (text.length < shortest) return { kind: "whole", id: text };
  const ids = await audit.findIds(text, mostNamed + 1);
  const [first, ...others] = ids;
  if (first === undefined || ids.includes(text)) return { kind: "whole", id: text };
  return others.length === 0 ? { kind: "whole", id: first } : { kind: "ambiguous", ids };
}

/** Pure. */
export function ambiguousId(text: string, ids: readonly string[]) {
  const named = ids.length > mostNamed ? [...ids.slice(0, mostNamed), "…"] : ids;
  const count = ids.length > mostNamed ? `More than ${mostNamed}` : String(ids.length);
  return {
    code: "AMBIGUOUS_ID",
    message: `${count} ids fit ${JSON.stringify(text)}: ${named.join(", ")}`,
    remedy: "Give more of the id: ./portreeve audit list --json has them whole",
  } as const;
}

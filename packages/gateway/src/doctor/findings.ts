/** What a check comes to. */

export interface Finding {
  readonly check: string;
  /** `note`: worth knowing, nothing is wrong. */
  readonly status: "ok" | "note" | "problem";
  readonly text: string;
  /** The command, or the step, that cures it. */
  readonly cure?: string;
}

export type Judge = (text: string, cure?: string) => Finding;

/** The three ways a check can end, under its name. */
export function named(check: string): Readonly<Record<Finding["status"], Judge>> {
  const as =
    (status: Finding["status"]): Judge =>
    (text, cure) => ({ check, status, text, ...(cure === undefined ? {} : { cure }) });
  return { ok: as("ok"), note: as("note"), problem: as("problem") };
}

/** `found`, or that all is well. */
export function orOk(found: readonly Finding[], ok: Finding): readonly Finding[] {
  return found.length === 0 ? [ok] : found;
}

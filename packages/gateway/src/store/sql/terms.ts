/** What a run was started with and what limits it: one JSON column of a run, and of a session that passes it on. */
import { nothing } from "../../principal/lattice.ts";
import type { StoredLimits } from "../../principal/principal.ts";
import type { RunTerms } from "../spawning.ts";
import type { RunTableRow } from "./schema.ts";

export interface StoredTerms extends StoredLimits, RunTerms {
  /** The nearest budget above the run. */
  readonly budgetId?: string;
}

/** Null when there is nothing to keep. */
export function writeTerms(terms: StoredTerms): string | null {
  const text = JSON.stringify(terms);
  return text === "{}" ? null : text;
}

/** Terms that cannot be read permit nothing. */
export function readTerms(text: string | null): StoredTerms {
  if (text === null) return {};
  try {
    return JSON.parse(text) as StoredTerms;
  } catch {
    const { tools, sandbox, budget, deadline } = nothing;
    return { limits: { tools, sandbox, budget, deadline } };
  }
}

/** What a session hands on to every run in it, beside limits. */
export function handedOn({ thinking, attachments }: StoredTerms): Pick<RunTerms, "thinking" | "attachments"> {
  return { ...(thinking === undefined ? {} : { thinking }), ...(attachments === undefined ? {} : { attachments }) };
}

/** What is done for `run` spends from its budget. */
export function budgetOf(run: Pick<RunTableRow, "terms"> | undefined): Pick<StoredTerms, "budgetId"> {
  const { budgetId } = readTerms(run?.terms ?? null);
  return budgetId === undefined ? {} : { budgetId };
}

/** The part that is the run's authority. */
export function limitsOf({ limits, policyOf }: StoredTerms): StoredLimits {
  return { ...(limits === undefined ? {} : { limits }), ...(policyOf === undefined ? {} : { policyOf }) };
}

/** Sub-agents' results as the parent's model reads them: with what they cost, and what is to be known of their text. Pure. */
import { quoteCompletions } from "../models/completion-text.ts";
import type { Completion } from "../store/journal.ts";

/** The message that carries `completions`; `open` children have not ended. */
export function quote(completions: readonly Completion[], open: number): string {
  const quoted = completions.map((one) => ({
    ...one,
    stats: toStats(one),
    note: toNote(one),
  }));
  return quoteCompletions(quoted, open);
}

function toNote(completion: Completion): string | undefined {
  const notes = [noteOnText(completion), completion.isCutOff === true ? cutOff : undefined].filter((note) => note !== undefined);
  return notes.length === 0 ? undefined : notes.join("; ");
}

const cutOff = "the reply was cut off: its model had no tokens left to go on";

function noteOnText({ outcome, text, textChars, silence, schemaError, childSessionKey }: Completion): string | undefined {
  if (silence === "ANNOUNCE_SKIP") return "it asked for its result to be told to nobody";
  if (silence === "NO_REPLY" || (outcome === "succeeded" && text.trim() === ""))
    return "it ended without saying anything: the result is missing";
  if (schemaError !== undefined) return `not the value that outputSchema asks for: ${schemaError}`;
  if (textChars === undefined) return undefined;
  return `the first ${text.length} of ${textChars} characters; sessions_history of ${childSessionKey} has the rest`;
}

function toStats({ runtimeMs, usage: { totalTokens, output }, costMicroUsd, childSessionKey, budgetLeft }: Completion): string {
  const cost = costMicroUsd === undefined ? "unknown" : `$${(costMicroUsd / 1_000_000).toFixed(4)}`;
  const tokens = `tokens ${totalTokens - output} in and ${output} out`;
  const left = Object.entries(budgetLeft ?? {}).map(([name, amount]) => `${amount} ${name}`);
  const budget = left.length === 0 ? "" : `, budget left ${left.join(" and ")}`;
  return `runtime ${(runtimeMs / 1_000).toFixed(1)} s, ${tokens}, cost ${cost}, session ${childSessionKey}${budget}`;
}

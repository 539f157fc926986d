/** A result that was asked for as a value: what the child is told of it, and whether its last message is one. Pure. */
import { limits, nestsDeeperThan } from "@portreeve/protocol";
import { type JsonSchema, problemWithValue } from "../kit/json-schema.ts";
import { askForRepair } from "../models/repair-text.ts";
import type { Ending, TranscriptMessage } from "../store/store.ts";
import type { RunState } from "./machine.ts";

export function schemaInstruction(schema: JsonSchema): string {
  return `Your last message must be one JSON value and nothing else, valid for this JSON Schema: ${JSON.stringify(schema)}`;
}

export type Structured =
  | { readonly kind: "ending"; readonly ending: Ending }
  /** One more turn, which is told this. */
  | { readonly kind: "repair"; readonly message: string };

/** What becomes of a run that ended well and was asked for a value: it is told once what is wrong with what it said. */
export function checkEnding(ending: Ending, schema: JsonSchema | undefined, state: RunState): Structured {
  if (schema === undefined || ending.outcome !== "succeeded" || state.phase !== "answered") return { kind: "ending", ending };
  const read = readValue(ending.text);
  const schemaError = "problem" in read ? read.problem : problemWithValue(read.value, schema);
  if (schemaError === undefined && "value" in read) return { kind: "ending", ending: { ...ending, text: JSON.stringify(read.value) } };
  if (state.isRepaired) return { kind: "ending", ending: { ...ending, schemaError } };
  return { kind: "repair", message: askForRepair(schemaError ?? "it is not JSON") };
}

export function toRepairMessage(text: string, nowMs: number): TranscriptMessage {
  return { role: "user", content: [{ type: "text", text }], timestamp: nowMs, origin: "repair" };
}

/** A fence around the value is no part of it. */
function readValue(text: string): { readonly value: unknown } | { readonly problem: string } {
  const inner = /^```(?:json)?\n([^]*?)\n```$/.exec(text.trim())?.[1] ?? text;
  try {
    const value: unknown = JSON.parse(inner);
    const { jsonLevels } = limits;
    return nestsDeeperThan(value, jsonLevels) ? { problem: `it nests deeper than ${jsonLevels} levels` } : { value };
  } catch {
    return { problem: "it is not JSON" };
  }
}

/** Parameters of a method: raw JSON in, parsed value or the exact complaint out. Pure. */
import type { z } from "zod";
import type { MethodDefinition } from "./define.ts";
import type { ErrorCode } from "./errors.ts";
import { isRecord } from "./frames.ts";
import { nestsDeeperThan } from "./json-depth.ts";
import { limits } from "./limits.ts";

export type ParsedParams =
  | { readonly ok: true; readonly params: unknown }
  | { readonly ok: false; readonly code: ErrorCode; readonly message: string };

/** Provenance and internal fields: carried by the admitted context, never taken from a caller, whatever the method. */
const forbiddenField = /^internal|provenance|^lane$|^extraSystemPrompt$/i;

/**
 * Checks `raw` against the method's schema. Unknown fields are refused; fields of the reference protocol that this
 * gateway does not act on are dropped or refused as the definition says.
 */
export function parseParams(name: string, definition: MethodDefinition, raw: unknown): ParsedParams {
  if (!isRecord(raw)) return refuse("INVALID_PARAMS", `invalid ${name} params: at root: must be object`);
  const kept: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(raw)) {
    if (forbiddenField.test(key)) return refuse("NOT_ALLOWED", `not allowed: ${key}`);
    if (definition.refused.includes(key)) return refuse("NOT_ALLOWED", `not allowed: ${key}`);
    if (definition.ignored.includes(key)) continue;
    if (definition.unsupported.includes(key)) {
      if (isNeutral(value)) continue;
      return refuse("NOT_SUPPORTED", `not supported: ${key}`);
    }
    // Assignment would run the setter of `__proto__` and hide the key from the schema.
    Object.defineProperty(kept, key, { value, enumerable: true, configurable: true, writable: true });
  }
  if (nestsDeeperThan(kept, limits.jsonLevels))
    return refuse("INVALID_PARAMS", `invalid ${name} params: at root: must NOT nest deeper than ${limits.jsonLevels} levels`);
  const parsed = definition.params.safeParse(kept, { reportInput: true });
  if (parsed.success) return { ok: true, params: parsed.data };
  return refuse("INVALID_PARAMS", `invalid ${name} params: ${describeIssues(parsed.error)}`);
}

/** Every issue of a failed parse as `at /path: what was expected`, joined by `; `. */
export function describeIssues(error: z.ZodError): string {
  return error.issues.map(describeIssue).join("; ");
}

function describeIssue(issue: z.core.$ZodIssue): string {
  const at = issue.path.length === 0 ? "root" : `/${issue.path.map(String).join("/")}`;
  switch (issue.code) {
    case "unrecognized_keys":
      return issue.keys.map((key) => `at ${at}: unexpected property '${key}'`).join("; ");
    case "invalid_type":
      if (issue.input === undefined) return `at ${at}: must have required property '${String(issue.path.at(-1) ?? "")}'`;
      return `at ${at}: must be ${issue.expected}`;
    case "too_small":
      return issue.origin === "string"
        ? `at ${at}: must NOT have fewer than ${issue.minimum} characters`
        : `at ${at}: must be >= ${issue.minimum}`;
    case "too_big":
      return issue.origin === "string"
        ? `at ${at}: must NOT have more than ${issue.maximum} characters`
        : `at ${at}: must be <= ${issue.maximum}`;
    case "invalid_value":
      return `at ${at}: must be equal to one of the allowed values: ${issue.values.map(String).join(", ")}`;
    default:
      return `at ${at}: ${issue.message}`;
  }
}

function isNeutral(value: unknown): boolean {
  return value === undefined || value === null || value === false || value === "" || (Array.isArray(value) && value.length === 0);
}

function refuse(code: ErrorCode, message: string): ParsedParams {
  return { ok: false, code, message };
}

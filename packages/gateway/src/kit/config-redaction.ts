/** Secrets of a configuration: taken out before anybody sees it, and put back where a writer left them as they were. Pure. */
import { isRecord } from "@portreeve/protocol";
import { ConfigError } from "./config.ts";
import type { KeySchema } from "./config-schema.ts";

/** What stands where a secret is; written back at the same key, it means the secret that is there. */
export const sentinel = "__OPENCLAW_REDACTED__";

/** No configuration is nested so deeply; what is would cost the stack. */
const maxDepth = 32;

/**
 * `value` without its secrets. Secret is what the schema says is, of whatever type it is written; an address with a name or
 * password in it; and what stands at a key that the schema does not have, or where it has a group: nobody knows what a mistyped
 * key was meant to be.
 */
export function redact(value: unknown, schema: KeySchema | undefined): unknown {
  return walk(value, schema, [], (scalar, at) => (isSecret(scalar, at) ? sentinel : scalar));
}

/** Whether `text` says nothing but what is in its value: no comment, no key that a later one replaces, nothing written otherwise. */
export function saysNoMore(text: string): boolean {
  if (text.trim() === "") return true;
  try {
    return withoutSpace(text) === JSON.stringify(JSON.parse(text));
  } catch {
    return false;
  }
}

/**
 * `next` with every sentinel replaced by the secret that stands at the same key of `current`, as the file has it.
 * @throws ConfigError for a sentinel where there is no secret: it would become one.
 */
export function restore(next: unknown, current: unknown, schema: KeySchema): unknown {
  return walk(next, schema, [], (scalar, at, path) => {
    if (scalar !== sentinel) return scalar;
    const known = valueAt(current, path);
    if (isScalar(known) && known !== sentinel && isSecret(known, at)) return known;
    throw ConfigError.at(path.join("."), "stands for a secret that is not there: write the value itself");
  });
}

export function hasSentinel(value: unknown): boolean {
  let found = false;
  walk(value, undefined, [], (scalar) => ((found ||= scalar === sentinel), scalar));
  return found;
}

/** The value at `path`, own keys only. */
export function valueAt(value: unknown, path: readonly string[]): unknown {
  let found = value;
  for (const key of path) {
    if (typeof found !== "object" || found === null || !Object.hasOwn(found, key)) return undefined;
    found = (found as Readonly<Record<string, unknown>>)[key]; // Own, and asked for by name.
  }
  return found;
}

type Scalar = string | number | boolean;

function isScalar(value: unknown): value is Scalar {
  return ["string", "number", "boolean"].includes(typeof value);
}

function isSecret(scalar: Scalar, schema: KeySchema | undefined): boolean {
  if (scalar === "") return false;
  if (schema === undefined || schema.sensitive === true || schema.type === "object") return true;
  return typeof scalar === "string" && hasUserInfo(scalar);
}

/** Outside the texts of JSON. */
function withoutSpace(json: string): string {
  return json.replace(/("(?:[^"\\]|\\.)*")|[ \t\r\n]+/g, (_all, quoted: string | undefined) => quoted ?? "");
}

function hasUserInfo(text: string): boolean {
  const url = URL.parse(text);
  return url !== null && (url.username !== "" || url.password !== "");
}

type Visit = (scalar: Scalar, schema: KeySchema | undefined, path: readonly string[]) => Scalar;

function walk(value: unknown, schema: KeySchema | undefined, path: readonly string[], visit: Visit): unknown {
  if (isScalar(value)) return visit(value, schema, path);
  if (path.length > maxDepth) throw ConfigError.at(path.slice(0, 3).join("."), "is nested too deeply");
  if (Array.isArray(value)) return value.map((item, index) => walk(item, schema?.items, [...path, String(index)], visit));
  if (!isRecord(value)) return value;
  // fromEntries makes own keys of all of them, also of `__proto__`.
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, walk(item, schemaOf(schema, key), [...path, key], visit)]));
}

function schemaOf(schema: KeySchema | undefined, key: string): KeySchema | undefined {
  if (schema?.properties !== undefined && Object.hasOwn(schema.properties, key)) return schema.properties[key];
  return typeof schema?.additionalProperties === "object" ? schema.additionalProperties : undefined;
}

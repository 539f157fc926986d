/** Parameters as a published schema permits them: the least, each field by itself with each of its kinds of value, all at once. Pure. */
import type { JsonSchema } from "./their-schema.ts";

export interface Sample {
  /** The field it is about; undefined for the least and for all at once. */
  readonly field: string | undefined;
  /** Every field at once: a schema may forbid that. */
  readonly isAll: boolean;
  readonly params: Readonly<Record<string, unknown>>;
}

/** An object schema, or a choice between several, gives samples for every one. */
export function samplesOf(schema: JsonSchema): readonly Sample[] {
  const choices = listOf(schema["anyOf"]) ?? listOf(schema["oneOf"]);
  if (choices !== undefined && schema["properties"] === undefined) return choices.flatMap(samplesOf);
  const fields = Object.entries(recordOf(schema["properties"]));
  const required = new Set(arrayOf(schema["required"]).map(String));
  const least = Object.fromEntries(fields.filter(([name]) => required.has(name)).map(([name, one]) => [name, first(one)]));
  const alone = fields.flatMap(([field, one]) =>
    variants(one).map((value): Sample => ({ field, isAll: false, params: { ...least, [field]: value } })),
  );
  const all = { field: undefined, isAll: true, params: Object.fromEntries(fields.map(([name, one]) => [name, first(one)])) };
  return [{ field: undefined, isAll: false, params: least }, ...alone, ...(fields.length > required.size ? [all] : [])];
}

/** What each field may hold, and which are needed: for combinations of them. Undefined for a choice between schemas. */
export function fieldsOf(
  schema: JsonSchema,
): { readonly required: ReadonlySet<string>; readonly values: Readonly<Record<string, readonly unknown[]>> } | undefined {
  if (schema["properties"] === undefined) return undefined;
  const fields = Object.entries(recordOf(schema["properties"]));
  const required = new Set(arrayOf(schema["required"]).map(String));
  return { required, values: Object.fromEntries(fields.map(([name, one]) => [name, variants(one)])) };
}

function first(schema: JsonSchema): unknown {
  return variants(schema)[0];
}

/** One value of each kind that the schema permits: every branch, every word, both bounds. */
function variants(schema: JsonSchema): readonly unknown[] {
  if ("const" in schema) return [schema["const"]];
  const words = schema["enum"];
  if (Array.isArray(words)) return words;
  const choices = listOf(schema["anyOf"]) ?? listOf(schema["oneOf"]);
  if (choices !== undefined) return choices.flatMap(variants);
  return variantsOfType(schema);
}

function variantsOfType(schema: JsonSchema): readonly unknown[] {
  switch (schema["type"]) {
    case "string":
      return [...new Set([text(schema, numberOf(schema["minLength"], 1)), text(schema, Math.min(numberOf(schema["maxLength"], 40), 100))])];
    case "integer":
    case "number":
      return [...new Set([numberOf(schema["minimum"], 1), numberOf(schema["maximum"], 1_000_000)])];
    case "boolean":
      return [true, false];
    case "null":
      return [null];
    case "array":
      return [Array.from({ length: Math.max(1, numberOf(schema["minItems"], 1)) }, () => first(recordOf(schema["items"])))];
    case "object":
      return [objectOf(schema)];
    default:
      return ["anything"];
  }
}

/** With all that it requires; of a map, one entry. */
function objectOf(schema: JsonSchema): object {
  const required = new Set(arrayOf(schema["required"]).map(String));
  const fields = Object.entries(recordOf(schema["properties"])).filter(([name]) => required.has(name));
  const entries = Object.values(recordOf(schema["patternProperties"])).map((one) => ["x", first(one)] as const);
  return Object.fromEntries([...fields.map(([name, one]) => [name, first(one)] as const), ...entries]);
}

/** Lower case where nothing else is asked for; the patterns of the schema start with a letter of either case. */
function text(schema: JsonSchema, length: number): string {
  const pattern = typeof schema["pattern"] === "string" ? new RegExp(schema["pattern"], "u") : /./u;
  const size = Math.max(1, length);
  const candidates = [...["x", "X", "1"].map((letter) => letter.repeat(size)), "2026-01-01", "UTC+1", "session:x"];
  return candidates.find((one) => pattern.test(one)) ?? "x".repeat(size);
}

function listOf(value: unknown): readonly JsonSchema[] | undefined {
  return Array.isArray(value) ? value.map(recordOf) : undefined;
}

function recordOf(value: unknown): Readonly<Record<string, JsonSchema>> {
  return typeof value === "object" && value !== null ? (value as Readonly<Record<string, JsonSchema>>) : {};
}

function arrayOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function numberOf(value: unknown, otherwise: number): number {
  return typeof value === "number" ? value : otherwise;
}

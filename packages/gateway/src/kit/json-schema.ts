/** The part of JSON Schema in which a result may be asked for: small enough to be checked the same everywhere, without patterns. Pure. */
import { nestsDeeperThan } from "@portreeve/protocol";
import { z } from "zod";

const types = ["object", "array", "string", "number", "integer", "boolean", "null"] as const;
const count = z.number().int().nonnegative();
const scalar = z.union([z.string(), z.number(), z.boolean(), z.null()]);

export interface JsonSchema {
  readonly type?: (typeof types)[number] | undefined;
  readonly enum?: readonly (string | number | boolean | null)[] | undefined;
  readonly properties?: Readonly<Record<string, JsonSchema>> | undefined;
  readonly required?: readonly string[] | undefined;
  readonly additionalProperties?: boolean | undefined;
  readonly items?: JsonSchema | undefined;
  readonly minimum?: number | undefined;
  readonly maximum?: number | undefined;
  readonly minLength?: number | undefined;
  readonly maxLength?: number | undefined;
  readonly minItems?: number | undefined;
  readonly maxItems?: number | undefined;
  readonly title?: string | undefined;
  readonly description?: string | undefined;
}

const schema: z.ZodType<JsonSchema> = z.strictObject({
  type: z.enum(types).optional(),
  enum: z.array(scalar).min(1).optional(),
  properties: z.lazy(() => z.record(z.string(), schema)).optional(),
  required: z.array(z.string()).optional(),
  additionalProperties: z.boolean().optional(),
  items: z.lazy(() => schema).optional(),
  minimum: z.number().optional(),
  maximum: z.number().optional(),
  minLength: count.optional(),
  maxLength: count.optional(),
  minItems: count.optional(),
  maxItems: count.optional(),
  title: z.string().optional(),
  description: z.string().optional(),
});

const mostChars = 20_000;
const deepest = 16;

/** The schema, or what is wrong with it. */
export function parseSchema(value: unknown): { readonly schema: JsonSchema } | { readonly problem: string } {
  // Two levels of JSON, at most, are one of the schema.
  if (nestsDeeperThan(value, 2 * deepest)) return { problem: `it nests deeper than ${deepest} levels` };
  const text = JSON.stringify(value) ?? "";
  if (text.length > mostChars) return { problem: `it has ${text.length} characters, and may have ${mostChars}` };
  const parsed = schema.safeParse(value);
  if (parsed.success) return { schema: parsed.data };
  return { problem: z.prettifyError(parsed.error).replaceAll(/\s+/g, " ").replaceAll("✖ ", "") };
}

/** Why `value` does not fit, with the path, or undefined. */
export function problemWithValue(value: unknown, { enum: allowed, type, ...rest }: JsonSchema, path = "the value"): string | undefined {
  if (allowed !== undefined && !allowed.some((one) => one === value)) return `${path} must be one of ${JSON.stringify(allowed)}`;
  if (type !== undefined && !isOfType(value, type)) return `${path} must be ${type}`;
  if (typeof value === "string") return problemWithSize(path, "characters", value.length, rest.minLength, rest.maxLength);
  if (typeof value === "number") return problemWithSize(path, undefined, value, rest.minimum, rest.maximum);
  if (Array.isArray(value)) return problemWithItems(value, rest, path);
  if (typeof value === "object" && value !== null) return problemWithProperties(value as Record<string, unknown>, rest, path);
  return undefined;
}

function isOfType(value: unknown, type: (typeof types)[number]): boolean {
  if (type === "null") return value === null;
  if (type === "array") return Array.isArray(value);
  if (type === "integer") return Number.isInteger(value);
  if (type === "object") return typeof value === "object" && value !== null && !Array.isArray(value);
  return typeof value === type;
}

function problemWithItems(value: readonly unknown[], { items, minItems, maxItems }: JsonSchema, path: string): string | undefined {
  const size = problemWithSize(path, "items", value.length, minItems, maxItems);
  if (size !== undefined || items === undefined) return size;
  return firstOf(value.entries(), ([index, item]) => problemWithValue(item, items, `${path}[${index}]`));
}

function problemWithProperties(
  value: Readonly<Record<string, unknown>>,
  { properties = {}, required = [], additionalProperties = true }: JsonSchema,
  path: string,
): string | undefined {
  const missing = required.find((name) => !Object.hasOwn(value, name));
  if (missing !== undefined) return `${path} must have ${JSON.stringify(missing)}`;
  return firstOf(Object.entries(value), ([name, one]) => {
    const known = Object.hasOwn(properties, name) ? properties[name] : undefined;
    if (known !== undefined) return problemWithValue(one, known, `${path}.${name}`);
    return additionalProperties ? undefined : `${path} must not have ${JSON.stringify(name)}`;
  });
}

function problemWithSize(path: string, what: string | undefined, size: number, min = -Infinity, max = Infinity): string | undefined {
  const unit = what === undefined ? "" : ` ${what}`;
  if (size < min) return `${path} must be at least ${min}${unit}`;
  return size > max ? `${path} must be at most ${max}${unit}` : undefined;
}

function firstOf<T>(items: Iterable<T>, problemOf: (item: T) => string | undefined): string | undefined {
  for (const item of items) {
    const problem = problemOf(item);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

/** JSON Schema as a person reads it: one short type per value, rows for the fields of an object. Pure. */

/** As much of JSON Schema as `z.toJSONSchema` writes for our definitions. */
export interface JsonSchema {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly format?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | JsonSchema;
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
}

/** `string`, `"a" \| "b"`, `{ id: string; label?: string }`, `string[]`; `unknown` for what is not constrained. */
export function toTypeText(schema: JsonSchema): string {
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum !== undefined) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const variants = schema.anyOf ?? schema.oneOf;
  if (variants !== undefined) return [...new Set(variants.map(toTypeText))].join(" | ");
  if (schema.type === "array") return toArrayText(toTypeText(schema.items ?? {}));
  if (schema.type === "object") return toObjectText(schema);
  return schema.format === undefined ? (schema.type ?? "unknown") : (formatNames[schema.format] ?? schema.type ?? schema.format);
}

/** The same over several lines where one would be long. `indent` is what stands before the text's own lines. */
export function toTypeBlock(schema: JsonSchema, indent = ""): string {
  const flat = toTypeText(schema);
  if (indent.length + flat.length <= lineWidth) return flat;
  const inner = `${indent}  `;
  const variants = schema.anyOf ?? schema.oneOf;
  if (variants !== undefined) return variants.map((variant) => `\n${indent}| ${toTypeBlock(variant, inner)}`).join("");
  if (schema.type === "array") return toArrayText(toTypeBlock(schema.items ?? {}, indent));
  const fields = listFields(schema);
  if (fields.length === 0) return flat;
  const lines = fields.map((field) => `${inner}${toFieldName(field)}: ${toTypeBlock(field.schema, inner)}\n`.replace(": \n", ":\n"));
  return `{\n${lines.join("")}${indent}}`;
}

/** The bounds of a value in words; empty when there are none. */
export function toBoundsText({ minimum, maximum, minLength, maxLength }: JsonSchema): string {
  const text = (low: number | undefined, high: number | undefined, unit: string): string[] => {
    if (low !== undefined && high !== undefined) return [`${low} to ${high}${unit}`];
    if (low !== undefined) return [`at least ${low}${unit}`];
    return high === undefined ? [] : [`at most ${high}${unit}`];
  };
  return [...text(minimum, maximum, ""), ...text(minLength === 1 ? undefined : minLength, maxLength, " characters")].join(", ");
}

export interface Field {
  readonly name: string;
  readonly schema: JsonSchema;
  readonly isRequired: boolean;
}

/** The fields of an object schema, in their order; none for any other schema. */
export function listFields(schema: JsonSchema): readonly Field[] {
  const required = new Set(schema.required);
  return Object.entries(schema.properties ?? {}).map(([name, value]) => ({ name, schema: value, isRequired: required.has(name) }));
}

const lineWidth = 100;
const formatNames: Readonly<Record<string, string>> = { uri: "URL", ipv4: "IPv4 address", ipv6: "IPv6 address" };

function toFieldName({ name, isRequired }: Field): string {
  return isRequired ? name : `${name}?`;
}

function toArrayText(item: string): string {
  return / [|] /.test(item) && !/^[{]/.test(item) ? `(${item})[]` : `${item}[]`;
}

function toObjectText(schema: JsonSchema): string {
  const fields = listFields(schema).map((field) => `${toFieldName(field)}: ${toTypeText(field.schema)}`);
  if (fields.length > 0) return `{ ${fields.join("; ")} }`;
  const { additionalProperties } = schema;
  return typeof additionalProperties === "object" && additionalProperties !== null
    ? `Record<string, ${toTypeText(additionalProperties)}>`
    : "object";
}

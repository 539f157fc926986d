/** The protocol as its makers publish it: `protocol.schema.json` of `@openclaw/gateway-protocol`, and our map onto it. */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Compile } from "typebox/schema";
import definitionsOf from "./definitions.json" with { type: "json" };
import differences from "./differences.json" with { type: "json" };
import { dig } from "./matching.ts";
import type { Heard } from "./player.ts";

export type JsonSchema = Readonly<Record<string, unknown>>;

/** `null`: they define none. `parts`: definitions of what a payload holds, by its path; `*` is every element. */
export interface MethodRow {
  readonly params: string | null;
  readonly result: string | null;
  readonly parts?: Readonly<Record<string, string>>;
}

export interface EventRow {
  readonly payload: string | null;
  readonly parts?: Readonly<Record<string, string>>;
}

export const rows: { readonly methods: Readonly<Record<string, MethodRow>>; readonly events: Readonly<Record<string, EventRow>> } =
  definitionsOf;

interface Published {
  readonly definitions: Readonly<Record<string, JsonSchema>>;
  readonly methods: Readonly<Record<string, { readonly scope: string }>>;
}

// A file of a pinned package, which does not export it: what it is not shows in every test.
const published = JSON.parse(
  readFileSync(join(dirname(fileURLToPath(import.meta.resolve("@openclaw/gateway-protocol"))), "../protocol.schema.json"), "utf8"),
) as Published;

export const { definitions, methods: theirMethods } = published;

/** The names that a definition of the method or event would have by their habit. */
export function usualNames(name: string): { readonly params: string; readonly result: string; readonly event: string } {
  const stem = name
    .split(/[.-]/)
    .map((word) => `${word.charAt(0).toUpperCase()}${word.slice(1)}`)
    .join("");
  return { params: `${stem}Params`, result: `${stem}Result`, event: `${stem}Event` };
}

/** Fields that a closed definition does not have and that we send all the same, with the reason. */
const allowedExtras: Readonly<Record<string, Readonly<Record<string, string>>>> = differences.extras;

/** Every result and event that is not what its definition says, once each. */
export function findProblems(heard: readonly Heard[]): readonly string[] {
  return [...new Set(heard.flatMap(findProblemsOf))];
}

/** Names of methods and events of which something was heard that has a definition. */
export function listJudged(heard: readonly Heard[]): ReadonlySet<string> {
  return new Set(heard.filter((one) => wholeOf(one) !== null).map(({ name }) => name));
}

function findProblemsOf(one: Heard): string[] {
  const { kind, name, payload } = one;
  const row = kind === "result" ? rows.methods[name] : rows.events[name];
  const whole = wholeOf(one);
  const parts = Object.entries(row?.parts ?? {}).flatMap(([path, definition]) =>
    reach(payload, path).map((part) => [`${name} at ${path}`, definition, part] as const),
  );
  const extras = new Set(Object.keys(allowedExtras[`${kind} ${name}`] ?? {}));
  return [...(whole === null ? [] : [[name, whole, payload] as const]), ...parts].flatMap(([place, definition, value]) =>
    errorsOf(definition, value, extras).map((error) => `${kind} ${place} is no ${definition}: ${error}`),
  );
}

function wholeOf({ kind, name }: Heard): string | null {
  return (kind === "result" ? rows.methods[name]?.result : rows.events[name]?.payload) ?? null;
}

/** What a path reaches; nothing where a part of it is absent or null. */
function reach(payload: unknown, path: string): readonly unknown[] {
  const [before = "", ...after] = path.split(/\.?\*\.?/);
  const inside = before === "" ? payload : dig(payload, before);
  if (path.includes("*"))
    return Array.isArray(inside) ? inside.flatMap((one) => (after.join("") === "" ? [one] : reach(one, after.join("*")))) : [];
  return inside === undefined || inside === null ? [] : [inside];
}

const validators = new Map<string, ReturnType<typeof Compile>>();

/** Why the value is not what the definition says; undefined when it is. */
export function misfit(definition: string, value: unknown): string | undefined {
  const errors = errorsOf(definition, value, new Set());
  return errors.length === 0 ? undefined : errors.join("; ");
}

function errorsOf(definition: string, value: unknown, extras: ReadonlySet<string>): readonly string[] {
  const schema = definitions[definition];
  if (schema === undefined) return [`there is no definition ${definition}`];
  const validator = validators.get(definition) ?? Compile(schema);
  validators.set(definition, validator);
  if (validator.Check(value)) return [];
  const [, errors] = validator.Errors(value);
  const complaints = errors.flatMap((error) => {
    const { keyword, instancePath, message, params } = error;
    if (keyword !== "additionalProperties") return [{ instancePath, message, facts: params }];
    const strange = error.params.additionalProperties.filter((name) => !extras.has(name));
    return strange.length === 0 ? [] : [{ instancePath, message, facts: strange }];
  });
  return complaints.map(({ instancePath, message, facts }) => `${instancePath} ${message} ${JSON.stringify(facts)}`);
}

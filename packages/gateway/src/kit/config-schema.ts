/** The configuration's schema as data: what a form shows of each key, which keys hold secrets, and which count at once. */
import { z } from "zod";
import { configSchema } from "./config.ts";

/** As much of JSON Schema as the configuration's has. */
export interface KeySchema {
  readonly type?: string;
  readonly description?: string;
  /** Its value is shown to nobody. */
  readonly sensitive?: boolean;
  readonly properties?: Readonly<Record<string, KeySchema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | KeySchema;
  readonly items?: KeySchema;
  readonly [key: string]: unknown;
}

export type ReloadKind = "hot" | "restart";

export interface KeyHint {
  readonly help?: string;
  readonly sensitive?: boolean;
}

/** What a writer may put in the file. Made when somebody asks: start-up does not need it. */
export function toConfigSchema(): KeySchema {
  const { $schema: _, ...schema } = z.toJSONSchema(configSchema, { io: "input" });
  // zod's own type for its output is wider than what it writes for our definitions.
  return schema as KeySchema;
}

/** Keys, with `*` for names a person chooses, whose change counts at once: the longest match decides. */
const reloadKinds: Readonly<Record<string, ReloadKind>> = {
  "": "restart",
  agents: "hot",
  "agents.defaults.compaction": "restart",
  "agents.defaults.stallSeconds": "restart",
  "agents.defaults.subagents.archiveAfterMinutes": "restart",
  "agents.defaults.subagents.maxConcurrent": "restart",
  models: "hot",
  "models.contextWindows": "restart",
};

export function reloadKindOf(path: readonly string[]): ReloadKind {
  for (let length = path.length; length > 0; length -= 1) {
    const kind = reloadKinds[path.slice(0, length).join(".")];
    if (kind !== undefined) return kind;
  }
  return "restart";
}

/** The schema of one key below `schema`, or undefined. A chosen name, or `*`, is one of the record's. */
export function schemaAt(schema: KeySchema, path: readonly string[]): KeySchema | undefined {
  let found: KeySchema | undefined = schema;
  for (const key of path) {
    const own: KeySchema | undefined =
      found.properties !== undefined && Object.hasOwn(found.properties, key) ? found.properties[key] : undefined;
    const any: KeySchema | undefined = typeof found.additionalProperties === "object" ? found.additionalProperties : undefined;
    const item: KeySchema | undefined = /^(\*|\d+)$/.test(key) ? found.items : undefined;
    found = own ?? any ?? item;
    if (found === undefined) return undefined;
  }
  return found;
}

/** Every key that says something of itself, by its path with `*` for chosen names. */
export function listHints(schema: KeySchema, path: readonly string[] = []): Readonly<Record<string, KeyHint>> {
  const own = hintOf(schema);
  const children = childrenOf(schema).map(([key, child]) => listHints(child, [...path, key]));
  return Object.assign(path.length > 0 && own !== undefined ? { [path.join(".")]: own } : {}, ...children) as Readonly<
    Record<string, KeyHint>
  >;
}

export interface LookedUp {
  readonly path: string;
  readonly schema: unknown;
  readonly reloadKind: ReloadKind;
  readonly hint?: KeyHint;
  readonly hintPath?: string;
  readonly children: readonly {
    readonly key: string;
    readonly path: string;
    readonly type?: string;
    readonly required: boolean;
    readonly hasChildren: boolean;
    readonly reloadKind: ReloadKind;
    readonly hint?: KeyHint;
    readonly hintPath?: string;
  }[];
}

/** What there is to know of one key and the keys right below it, or undefined when there is no such key. */
export function lookUp(schema: KeySchema, path: readonly string[]): LookedUp | undefined {
  const found = schemaAt(schema, path);
  if (found === undefined) return undefined;
  const { properties: _, additionalProperties: __, items: ___, ...own } = found;
  return {
    path: path.join("."),
    schema: own,
    reloadKind: reloadKindOf(path),
    ...withHint(found, path),
    children: childrenOf(found).map(([key, child]) => ({
      key,
      path: [...path, key].join("."),
      ...(child.type === undefined ? {} : { type: child.type }),
      required: found.required?.includes(key) === true,
      hasChildren: childrenOf(child).length > 0,
      reloadKind: reloadKindOf([...path, key]),
      ...withHint(child, [...path, key]),
    })),
  };
}

/** `a.b[0].c`, `a/b` and `a.b` as parts. */
export function toPath(text: string): readonly string[] {
  return text.split(/[./[\]]+/).filter((part) => part !== "");
}

function childrenOf({ properties = {}, additionalProperties, items }: KeySchema): readonly (readonly [string, KeySchema])[] {
  return [
    ...Object.entries(properties),
    ...(typeof additionalProperties === "object" ? [["*", additionalProperties] as const] : []),
    ...(items === undefined ? [] : [["*", items] as const]),
  ];
}

function hintOf({ description, sensitive }: KeySchema): KeyHint | undefined {
  if (description === undefined && sensitive === undefined) return undefined;
  return { ...(description === undefined ? {} : { help: description }), ...(sensitive === undefined ? {} : { sensitive }) };
}

function withHint(schema: KeySchema, path: readonly string[]): { readonly hint?: KeyHint; readonly hintPath?: string } {
  const hint = hintOf(schema);
  return hint === undefined ? {} : { hint, hintPath: path.join(".") };
}

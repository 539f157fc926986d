/** A change of the configuration: a patch merged in, the keys that differ, and what a change may not do to a stored key. Pure. */
import { isRecord } from "@portreeve/protocol";
import { ConfigError } from "./config.ts";
import { sentinel, valueAt } from "./config-redaction.ts";

/**
 * A JSON merge patch: objects are merged, `null` takes a key away, everything else replaces. What stands at one of
 * `replacePaths` replaces as a whole.
 */
export function mergePatch(current: unknown, patch: unknown, replacePaths: readonly string[] = []): unknown {
  return merge(current, patch, { path: [], replacePaths: new Set(replacePaths) });
}

function merge(
  current: unknown,
  patch: unknown,
  at: { readonly path: readonly string[]; readonly replacePaths: ReadonlySet<string> },
): unknown {
  if (!isRecord(patch) || at.replacePaths.has(at.path.join("."))) return patch;
  if (at.path.length > 32) throw ConfigError.at(at.path.slice(0, 3).join("."), "is nested too deeply");
  const merged = new Map(isRecord(current) ? Object.entries(current) : []);
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) merged.delete(key);
    else merged.set(key, merge(merged.get(key), value, { ...at, path: [...at.path, key] }));
  }
  return Object.fromEntries(merged);
}

/** The keys whose values differ, as deep as there are objects: what is new as a whole is named in its parts. */
export function changedPaths(before: unknown, after: unknown, path: readonly string[] = []): readonly (readonly string[])[] {
  const sides = [before, after].filter((side) => side !== undefined);
  const keys = sides.every(isRecord) ? new Set(sides.flatMap((side) => Object.keys(side))) : new Set<string>();
  if (keys.size > 0) return [...keys].flatMap((key) => changedPaths(valueAt(before, [key]), valueAt(after, [key]), [...path, key]));
  return JSON.stringify(before) === JSON.stringify(after) ? [] : [path];
}

/**
 * Whoever changes where a provider is, or what it is, must give its key again: a key that is stored, here or in the
 * environment, goes to no address that its holder did not choose. `written` is what the caller wrote, sentinels and all.
 * @throws ConfigError naming the key that is missing
 */
export function assertKeysStay(before: unknown, written: unknown, after: unknown): void {
  const providers = valueAt(after, ["models", "providers"]);
  for (const name of isRecord(providers) ? Object.keys(providers) : []) {
    const path = ["models", "providers", name];
    const read = (value: unknown, key: string): unknown => valueAt(value, [...path, key]);
    if (["api", "baseUrl"].every((key) => read(after, key) === read(before, key))) continue;
    const usesEnvironment = read(after, "api") !== "openai-compatible" && read(after, "baseUrl") !== undefined;
    const usesStored = read(after, "apiKey") !== undefined || usesEnvironment;
    const given = read(written, "apiKey");
    if (usesStored && (typeof given !== "string" || given === sentinel))
      throw ConfigError.at([...path, "apiKey"].join("."), "must be given anew with another address: a stored key goes to no new one");
  }
}

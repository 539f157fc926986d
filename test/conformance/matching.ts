/**
 * Patterns of a transcript. A plain object fits a value that has at least these fields; an array fits element by element; any
 * other value fits its equal. `{"$type": "integer"}`, `{"$like": "regular expression"}`, `{"$some": pattern}` (of an array),
 * `{"$absent": true}`, `{"$keys": ["exactly", "these"]}` (beside other fields), `{"$not": pattern}`. Pure.
 */
export type Pattern = unknown;

/** Every place at which `value` does not fit, as text; empty when it does. */
export function mismatches(pattern: Pattern, value: unknown, at = "payload"): readonly string[] {
  if (Array.isArray(pattern)) return mismatchesOfArray(pattern, value, at);
  if (!isObject(pattern)) return Object.is(pattern, value) ? [] : [`${at}: expected ${show(pattern)}, got ${show(value)}`];
  return Object.entries(pattern).flatMap(([key, wanted]) => {
    const rule = rules[key];
    if (rule !== undefined) return rule(wanted, value, at);
    if (key.startsWith("$")) return [`${at}: there is no matcher ${key}`];
    if (!isObject(value)) return [`${at}: expected an object, got ${show(value)}`];
    return mismatches(wanted, value[key], `${at}.${key}`);
  });
}

/** Writes what was saved into every string of `value`: `${name}`. @throws Error for a name that nothing was saved under. */
export function fill(value: unknown, saved: ReadonlyMap<string, unknown>): unknown {
  if (Array.isArray(value)) return value.map((one) => fill(one, saved));
  if (isObject(value)) return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, fill(one, saved)]));
  if (typeof value !== "string") return value;
  const whole = /^\$\{(\w+)\}$/.exec(value)?.[1];
  return whole === undefined ? value.replace(/\$\{(\w+)\}/g, (_all, name: string) => String(get(saved, name))) : get(saved, whole);
}

/** What stands at `device.tokens.0.token` of a payload. */
export function dig(value: unknown, path: string): unknown {
  return path
    .split(".")
    .reduce((inside: unknown, key) => (isObject(inside) || Array.isArray(inside) ? Reflect.get(inside, key) : undefined), value);
}

type Rule = (wanted: unknown, value: unknown, at: string) => readonly string[];

const rules: Readonly<Record<string, Rule>> = {
  $type: (wanted, value, at) => (typeOf(value, wanted) ? [] : [`${at}: expected a value of type ${show(wanted)}, got ${show(value)}`]),
  $like: (wanted, value, at) =>
    typeof value === "string" && new RegExp(String(wanted), "su").test(value)
      ? []
      : [`${at}: expected /${String(wanted)}/, got ${show(value)}`],
  $some: (wanted, value, at) =>
    Array.isArray(value) && value.some((one) => mismatches(wanted, one).length === 0)
      ? []
      : [`${at}: expected an element like ${show(wanted)}, got ${show(value)}`],
  $absent: (_wanted, value, at) => (value === undefined ? [] : [`${at}: expected nothing, got ${show(value)}`]),
  $not: (wanted, value, at) => (mismatches(wanted, value).length > 0 ? [] : [`${at}: expected anything but ${show(wanted)}`]),
  $keys(wanted, value, at) {
    const keys = isObject(value) ? Object.keys(value).toSorted() : undefined;
    const expected = Array.isArray(wanted) ? wanted.map(String).toSorted() : [];
    return keys?.join() === expected.join() ? [] : [`${at}: expected the keys ${expected.join(", ")}, got ${show(keys)}`];
  },
};

function mismatchesOfArray(pattern: readonly unknown[], value: unknown, at: string): readonly string[] {
  if (!Array.isArray(value) || value.length !== pattern.length) return [`${at}: expected ${pattern.length} elements, got ${show(value)}`];
  return pattern.flatMap((one, index) => mismatches(one, value[index], `${at}.${index}`));
}

function typeOf(value: unknown, type: unknown): boolean {
  if (type === "integer") return Number.isInteger(value);
  if (type === "array") return Array.isArray(value);
  if (type === "object") return isObject(value);
  return type === "null" ? value === null : typeof value === type;
}

function get(saved: ReadonlyMap<string, unknown>, name: string): unknown {
  if (!saved.has(name)) throw new Error(`nothing was saved as ${name}`);
  return saved.get(name);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length <= 400 ? text : `${text.slice(0, 400)}…`;
}

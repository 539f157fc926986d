/** Damage done to a `connect` on purpose: a few changes at places that exist, of kinds that have hurt parsers before. */
import fc from "fast-check";

export interface Mutation {
  readonly path: readonly string[];
  readonly kind: "drop" | "replace" | "wrap" | "repeat";
  readonly value: unknown;
}

const fields: Readonly<Record<string, readonly string[]>> = {
  client: ["id", "mode", "version", "platform", "deviceFamily", "displayName", "bogus"],
  auth: ["token", "deviceToken", "bootstrapToken", "password", "bogus"],
  device: ["id", "publicKey", "signature", "nonce", "signedAt", "bogus"],
  scopes: ["0", "1", "64"],
};
const paths: readonly (readonly string[])[] = [
  ...["minProtocol", "maxProtocol", "role", "caps", "commands", "permissions", "locale", "inputProvenance", "bogus"].map((name) => [name]),
  ...Object.entries(fields).flatMap(([name, below]) => [[name], ...below.map((field) => [name, field])]),
];

const nested = JSON.parse(`${"[".repeat(500)}${"]".repeat(500)}`) as unknown; // An array of arrays.

const numbers = [0, -1, 1, 2, 3, 4, 5, 99, 1.5, 1e308, 2 ** 53, -0];
const words = ["operator", "node", "worker", "admin", "openclaw-worker", "gateway-client", "backend", "operator.admin", "operator.*"];
const texts = ["", " ", "x", "é\u0000\u202e", "__proto__", "constructor", "a".repeat(5_000), "a".repeat(70_000)];
const lists = [[], [""], [null], [[]], ["operator.admin"], ["operator.admin", "operator.pairing"], ["operator.bogus"], nested];
const tooMany = Array.from({ length: 65 }, () => "operator.read");
const oddValues: readonly unknown[] = [null, true, false, {}, { toString: "x" }, tooMany, ...numbers, ...words, ...texts, ...lists];

export const mutation: fc.Arbitrary<Mutation> = fc.record({
  path: fc.constantFrom(...paths),
  kind: fc.constantFrom("drop", "replace", "replace", "wrap", "repeat"),
  value: fc.constantFrom(...oddValues),
});

/** A copy of `params` with the change made; a path that leads nowhere changes nothing. */
export function mutate(params: object, { path, kind, value }: Mutation): object {
  const copy = structuredClone(params) as Record<string, unknown>;
  const [last = ""] = path.slice(-1);
  let holder: unknown = copy;
  for (const name of path.slice(0, -1)) holder = isHolder(holder) ? holder[name] : undefined;
  if (!isHolder(holder)) return copy;
  const before = holder[last];
  if (kind === "drop") delete holder[last];
  else {
    const next = { replace: value, wrap: { [last]: before }, repeat: [before, before] }[kind];
    // Assignment would run the setter of `__proto__`.
    Object.defineProperty(holder, last, { value: next, enumerable: true, configurable: true, writable: true });
  }
  return copy;
}

function isHolder(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

export const textChanges = {
  none: (text: string) => text,
  cut: (text: string) => text.slice(0, Math.floor(text.length / 2)),
  trailing: (text: string) => `${text}}`,
  mark: (text: string) => `\ufeff${text}`,
  spaces: (text: string) => `  \n${text}\t`,
  "admin twice": (text: string) => text.replace('"params":{', '"params":{"scopes":["operator.admin"],"role":"operator",'),
  "role after": (text: string) => text.replace(/}}$/, ',"role":"node"}}'),
  "other type": (text: string) => text.replace('"type":"req"', '"type":"res"'),
  "other method": (text: string) => text.replace('"method":"connect"', '"method":"sessions.list"'),
  "own proto": (text: string) => text.replace('"params":{', '"params":{"__proto__":{"scopes":["operator.admin"]},'),
  "no id": (text: string) => text.replace(/"id":"[^"]*",/, ""),
  "lone surrogate": (text: string) => text.replace('"platform":"', '"platform":"\\ud800'),
  array: (text: string) => `[${text}]`,
} as const satisfies Record<string, (text: string) => string>;

export type TextChange = keyof typeof textChanges;

/** Mostly none: what is not JSON tells little. */
export const textChange: fc.Arbitrary<TextChange> = fc.oneof(
  { weight: 3, arbitrary: fc.constant("none" as const) },
  { weight: 1, arbitrary: fc.constantFrom(...(Object.keys(textChanges) as TextChange[])) }, // The keys are the type.
);

export function connectText(params: object, change: TextChange): string {
  return textChanges[change](JSON.stringify({ type: "req", id: "c", method: "connect", params }));
}

/** `PORTREEVE_FUZZ=long` runs ten times as many cases; `PORTREEVE_FUZZ_SEED` repeats a run. */
export function fuzzPlan(cases: number): { readonly numRuns: number; readonly seed: number; readonly isLong: boolean } {
  const isLong = process.env["PORTREEVE_FUZZ"] === "long";
  const seed = Number(process.env["PORTREEVE_FUZZ_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
  return { numRuns: isLong ? cases * 10 : cases, seed, isLong };
}

/** What source files import, read from their text. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";

export interface Import {
  /** The importing file, from the repository's root. */
  readonly from: string;
  readonly specifier: string;
  /** A repository path, or the specifier itself for a package that is not ours. */
  readonly to: string;
  readonly kind: "value" | "type" | "dynamic";
}

/** Repository path → text. */
export type Sources = ReadonlyMap<string, string>;

/** `@portreeve/…` specifier → repository path. */
export type Entries = ReadonlyMap<string, string>;

/** The sources of all packages without their tests, and the packages' entries. */
export function readPackages(root: string): { readonly sources: Sources; readonly entries: Entries } {
  const sources = new Map<string, string>();
  const entries = new Map<string, string>();
  for (const name of readdirSync(join(root, "packages"))) {
    const folder = `packages/${name}`;
    // The shape of our own package.json files: npm itself refuses others.
    const manifest = JSON.parse(readFileSync(join(root, folder, "package.json"), "utf8")) as {
      name: string;
      exports: Record<string, string>;
    };
    for (const [key, file] of Object.entries(manifest.exports)) entries.set(join(manifest.name, key), join(folder, file));
    for (const path of readdirSync(join(root, folder, "src"), { recursive: true, encoding: "utf8" })) {
      const file = join(folder, "src", path);
      if (file.endsWith(".ts") && !file.endsWith(".test.ts")) sources.set(file, readFileSync(join(root, file), "utf8"));
    }
  }
  return { sources, entries };
}

/** Every import of every file. A dynamic import of something computed has the specifier `?`. */
export function listImports(sources: Sources, entries: Entries): readonly Import[] {
  return [...sources].flatMap(([from, text]) =>
    [...parseImports(text)].map(({ specifier, kind }) => {
      const to = specifier.startsWith(".") ? join(dirname(from), specifier) : (entries.get(specifier) ?? specifier);
      return { from, specifier, to, kind };
    }),
  );
}

/** Everything `entry` loads at start: what its value imports, and theirs, lead to. */
export function reach(imports: readonly Import[], entry: string): ReadonlySet<string> {
  const reached = new Set([entry]);
  for (const file of reached) {
    for (const { from, to, kind } of imports) if (from === file && kind === "value") reached.add(to);
  }
  return reached;
}

const statement = /^(?:import|export)\s+(?<type>type\s)?(?:[^"';]*?\sfrom\s+)?"(?<specifier>[^"]+)"/gm;
const call = /\bimport\(\s*(?:"(?<specifier>[^"]+)")?/g;

function* parseImports(text: string): Iterable<Pick<Import, "specifier" | "kind">> {
  for (const { groups } of text.matchAll(statement))
    yield { specifier: groups?.["specifier"] ?? "?", kind: groups?.["type"] === undefined ? "value" : "type" };
  for (const { groups } of text.matchAll(call)) yield { specifier: groups?.["specifier"] ?? "?", kind: "dynamic" };
}

/** What came of each flow when it was last tried here: a run of some of them brings the page up to date in part. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Flow, Outcome } from "./flow.ts";

/** Gone with node_modules, and then everything is tried anew before a page is written. */
const file = join(import.meta.dirname, "../../node_modules/.cache/client-outcomes.json");

export type Outcomes = Readonly<Record<string, Outcome>>;

/** The line by which a flow is known. */
export function lineOf({ client, version, name }: Pick<Flow, "client" | "version" | "name">): string {
  return `${client} ${version}: ${name}`;
}

export async function readOutcomes(): Promise<Outcomes> {
  try {
    return JSON.parse(await readFile(file, "utf8")) as Outcomes;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return {};
    throw error;
  }
}

export async function keepOutcomes(outcomes: Outcomes): Promise<void> {
  await writeFile(file, JSON.stringify(outcomes));
}

/** Agents come into the configuration file: those that it does not name yet, each with its folder where that is fit for one. */
import { lstat, readFile, realpath } from "node:fs/promises";
import { dirname, isAbsolute, relative } from "node:path";
import { isRecord } from "@portreeve/protocol";
import { checkConfig, ConfigError, parseJson5 } from "../kit/config.ts";
import { replaceConfig } from "../kit/config-file.ts";
import type { Imported, ImportOptions, Left, Part } from "./report.ts";
import { ImportError } from "./import-error.ts";
import type { Candidate, SourceAgent } from "./source.ts";
import { nameOf } from "./source-records.ts";

export interface AgentPlan {
  readonly part: Part;
  /** Those of the configuration and those that come. */
  readonly agentIds: ReadonlySet<string>;
  /** The file's next text; undefined: it stays. */
  readonly text: string | undefined;
}

interface Entry {
  readonly workspace?: string;
  readonly model?: string;
}

/** @throws ImportError CONFIG_UNUSABLE */
export async function planAgents(candidates: readonly Candidate<SourceAgent>[], options: ImportOptions): Promise<AgentPlan> {
  const before = await readConfig(options.configFile);
  const known = entriesOf(before);
  const [imported, left]: [Imported[], Left[]] = [[], []];
  const added = new Map<string, Entry>();
  for (const candidate of candidates) {
    const { what } = candidate;
    if (candidate.kind === "left") left.push({ what, why: candidate.why });
    else if (Object.hasOwn(known, candidate.value.id) || added.has(candidate.value.id))
      left.push({ what, why: "the configuration has one already" });
    else {
      const { entry, notes } = await toEntry(candidate.value, options);
      added.set(candidate.value.id, entry);
      imported.push({
        what: entry.workspace === undefined ? what : `${what} (its folder: ${nameOf(entry.workspace)})`,
        notes: [...candidate.notes, ...notes],
      });
    }
  }
  const agentIds = new Set(["main", ...Object.keys(known), ...added.keys()]);
  const agents = isRecord(before["agents"]) ? before["agents"] : {};
  const next = { ...before, agents: { ...agents, entries: { ...known, ...Object.fromEntries(added) } } };
  if (added.size === 0) return { part: { imported, left }, agentIds, text: undefined };
  check(next, options.configFile);
  return { part: { imported, left }, agentIds, text: `${JSON.stringify(next, undefined, 2)}\n` };
}

/** @throws ImportError CONFIG_UNUSABLE */
export async function writeAgents(configFile: string, { text }: AgentPlan): Promise<void> {
  if (text === undefined) return;
  await replaceConfig(configFile, text, () => Promise.resolve()).catch((error: unknown) => {
    throw unusable(configFile, error instanceof Error ? error.message : String(error), error);
  });
}

async function toEntry({ workspace, model }: SourceAgent, options: ImportOptions): Promise<{ entry: Entry; notes: readonly string[] }> {
  const withModel = model === undefined ? {} : { model };
  if (workspace === undefined) return { entry: withModel, notes: [] };
  const problem = await findWorkspaceProblem(workspace, options);
  if (problem === "missing") return { entry: withModel, notes: [] };
  if (problem !== undefined) return { entry: withModel, notes: [`without its folder ${nameOf(workspace)}: ${problem}`] };
  return { entry: { workspace, ...withModel }, notes: [] };
}

/** What an agent's tools may see is its folder: none that holds the keys of this gateway or of the user, whatever a source says. */
async function findWorkspaceProblem(
  path: string,
  { stateDir, configFile, homeDir, sourceDir }: ImportOptions,
): Promise<string | undefined> {
  if (!isAbsolute(path)) return "it is no absolute path";
  const real = await realpath(path).catch(() => undefined);
  if (real === undefined || !(await lstat(real)).isDirectory()) return "missing";
  for (const kept of [stateDir, dirname(configFile)]) {
    const place = await realpath(kept).catch(() => kept);
    if (isWithin(place, real) || isWithin(real, place)) return "this gateway's own files are there";
  }
  if (isWithin(await realpath(homeDir).catch(() => homeDir), real)) return "it is the home folder, or holds it";
  if (isWithin(await realpath(sourceDir).catch(() => sourceDir), real)) return "the old gateway's keys are there";
  return undefined;
}

/** Whether `inner` is `outer` or lies in it. */
function isWithin(inner: string, outer: string): boolean {
  const way = relative(outer, inner);
  return way === "" || (!way.startsWith("..") && !isAbsolute(way));
}

async function readConfig(configFile: string): Promise<Record<string, unknown>> {
  const text = await readFile(configFile, "utf8").catch((error: unknown) => {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return "";
    throw unusable(configFile, error instanceof Error ? error.message : String(error), error);
  });
  const value = attempt(() => parseJson5(text, configFile), configFile);
  check(value, configFile);
  return isRecord(value) ? value : {};
}

function check(value: unknown, configFile: string): void {
  attempt(() => checkConfig(value, configFile), configFile);
}

function attempt<T>(make: () => T, configFile: string): T {
  try {
    return make();
  } catch (error) {
    throw error instanceof ConfigError ? unusable(configFile, error.message, error) : error;
  }
}

function unusable(configFile: string, why: string, cause: unknown): ImportError {
  return new ImportError(
    "CONFIG_UNUSABLE",
    `the configuration ${configFile} cannot be used: ${why}`,
    "Put that right, then import again.",
    cause,
  );
}

function entriesOf(config: Record<string, unknown>): Record<string, unknown> {
  const { agents } = config;
  return isRecord(agents) && isRecord(agents["entries"]) ? agents["entries"] : {};
}

/** Agents of a source's configuration: a list in one generation, entries in the other. Pure. */
import { isRecord } from "@portreeve/protocol";
import { type Candidate, left, type SourceAgent, usable } from "./source.ts";
import { isKnownModel, withoutModel } from "./source-models.ts";
import { nameOf } from "./source-records.ts";

export interface AgentPlaces {
  /** What `~` stands for. */
  readonly homeDir: string;
  /** Where the source keeps a workspace that it does not name. */
  readonly defaultWorkspace: (agentId: string) => string;
}

export function judgeAgents(config: unknown, places: AgentPlaces): readonly Candidate<SourceAgent>[] {
  const agents = at(config, "agents");
  const defaults = at(agents, "defaults");
  const entries = listEntries(agents);
  const isMainNamed = entries.some(([id]) => id === "main");
  const all = isMainNamed ? entries : [["main", {}] as const, ...entries];
  return all.map(([rawId, entry]) => judgeAgent(rawId, entry, { defaults, places }));
}

function listEntries(agents: unknown): readonly (readonly [id: string, entry: unknown])[] {
  const [list, entries] = [at(agents, "list"), at(agents, "entries")];
  if (isRecord(entries)) return Object.entries(entries);
  return Array.isArray(list) ? list.map((entry: unknown) => [String(at(entry, "id") ?? ""), entry] as const) : [];
}

function judgeAgent(
  rawId: string,
  entry: unknown,
  { defaults, places }: { readonly defaults: unknown; readonly places: AgentPlaces },
): Candidate<SourceAgent> {
  const id = rawId.toLowerCase();
  if (!/^[a-z0-9][a-z0-9_-]{0,63}$/.test(id)) return left(nameOf(rawId), "its name cannot be an agent's here");
  const named = text(at(entry, "workspace")) ?? (id === "main" ? text(at(defaults, "workspace")) : undefined);
  const workspace = expand(named, places.homeDir) ?? places.defaultWorkspace(id);
  const model = primary(at(entry, "model")) ?? primary(at(defaults, "model"));
  const isKnown = model !== undefined && isKnownModel(model);
  const notes = model === undefined || isKnown ? [] : [withoutModel(model, nameOf)];
  return usable(id, { id, workspace, model: isKnown ? model : undefined }, notes);
}

function primary(model: unknown): string | undefined {
  return text(model) ?? text(at(model, "primary"));
}

function expand(path: string | undefined, homeDir: string): string | undefined {
  return path?.replace(/^~(?=\/|$)/, homeDir);
}

function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" && value.length <= 4_096 ? value : undefined;
}

function at(value: unknown, key: string): unknown {
  return isRecord(value) && Object.hasOwn(value, key) ? value[key] : undefined;
}

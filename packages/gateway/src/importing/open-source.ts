/** Opens a state folder of OpenClaw, whichever generation wrote it. */
import { join } from "node:path";
import { ConfigError, parseJson5 } from "../kit/config.ts";
import { DatabaseSource } from "./database-source.ts";
import { FileSource } from "./file-source.ts";
import type { Candidate, Source, SourceSession } from "./source.ts";
import { judgeAgents } from "./source-agents.ts";
import { SourceFolder, SourceProblem } from "./source-folder.ts";

const maxConfigBytes = 4_194_304;

/** Undefined when the folder is missing or holds nothing that either generation writes. */
export async function openSource(path: string, homeDir: string): Promise<Source | undefined> {
  const folder = await SourceFolder.open(path);
  if (folder === undefined) return undefined;
  const files = new FileSource(folder);
  await using resources = new AsyncDisposableStack();
  const openDatabase = async (...parts: readonly string[]): Promise<DatabaseSource | undefined> => {
    const opened = await files.attempt(parts, () => DatabaseSource.open(folder, parts));
    return opened === undefined ? undefined : resources.use(opened);
  };

  const state = await openDatabase("state", "openclaw.sqlite");
  const config = await files.attempt(["openclaw.json"], () => readConfig(folder));
  const agentIds = await files.agentIds();
  const shared = await readShared(files, state);
  const sessions: Candidate<SourceSession>[] = [];
  for (const agentId of agentIds) {
    const parts = ["agents", agentId, "agent", "openclaw-agent.sqlite"];
    const database = await openDatabase(...parts);
    const found =
      database === undefined ? undefined : await files.attempt(parts, () => Promise.resolve().then(() => database.sessions(agentId)));
    sessions.push(...(found ?? (files.hasFailed(parts) ? [] : await files.sessions(agentId))));
  }
  const isEmpty = config === undefined && shared.devices.length + shared.jobs.length + agentIds.length + files.problems.length === 0;
  if (state === undefined && isEmpty) return undefined;
  const owned = resources.move();
  return {
    generation: state === undefined && !files.hasFailed(statePath) ? "2026.4" : "2026.9",
    agents: judgeAgents(config, { homeDir, defaultWorkspace: (id) => join(folder.path, id === "main" ? "workspace" : `workspace-${id}`) }),
    devices: shared.devices,
    sessions,
    jobs: shared.jobs,
    problems: files.problems,
    leftovers: listLeftovers(config, shared.nodes),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

const statePath = ["state", "openclaw.sqlite"];

/**
 * The later generation leaves the files of the earlier one behind: where its database is but cannot be read, they are not used
 * instead, since what was revoked since then would come back.
 */
async function readShared(files: FileSource, state: DatabaseSource | undefined) {
  const read = (from: DatabaseSource) =>
    Promise.resolve().then(() => ({ devices: from.devices(), jobs: from.jobs(), nodes: from.nodeCount() }));
  const found = state === undefined ? undefined : await files.attempt(statePath, () => read(state));
  if (found !== undefined) return found;
  if (files.hasFailed(statePath)) return { devices: [], jobs: [], nodes: 0 };
  return { devices: await files.devices(), jobs: await files.jobs(), nodes: await files.nodeCount() };
}

async function readConfig(folder: SourceFolder): Promise<unknown> {
  const text = await folder.text(["openclaw.json"], maxConfigBytes);
  try {
    return text === undefined ? undefined : parseJson5(text, "openclaw.json");
  } catch (error) {
    throw error instanceof ConfigError ? new SourceProblem("is not JSON5") : error;
  }
}

function listLeftovers(config: unknown, nodes: number): Source["leftovers"] {
  const has = (...keys: readonly string[]): boolean =>
    keys.some((key) => typeof config === "object" && config !== null && Object.hasOwn(config, key));
  return [
    { what: "tokens of devices", why: "each device gets a new one when it connects with the shared secret" },
    ...(nodes === 0
      ? []
      : [{ what: `what ${nodes} node${nodes === 1 ? "" : "s"} may run`, why: "waits for your approval when the node connects" }]),
    ...(has("models")
      ? [{ what: "model providers and their keys", why: "set them in config.json5 or the environment: keys are not copied" }]
      : []),
    ...(has("gateway") ? [{ what: "settings of the gateway, its secret among them", why: "those here stay as they are" }] : []),
    ...(has("channels", "plugins", "skills", "hooks") ? [{ what: "channels, plugins, skills and hooks", why: "there are none here" }] : []),
  ];
}

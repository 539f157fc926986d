/** The configuration as its methods see it: the file, what counts now, and what no gateway would start with. */
import { createSecretKey } from "node:crypto";
import { realpath } from "node:fs/promises";
import { isAbsolute, relative } from "node:path";
import type { ConfigHandlerDeps } from "../handlers/config.ts";
import type { AgentFacts } from "../handlers/deps.ts";
import type { GatewayKey } from "../identity/state-keys.ts";
import { parseConfig } from "../kit/config.ts";
import { ConfigFile } from "../kit/config-file.ts";
import { assertUsable } from "../start-check.ts";
import type { Store } from "../store/store.ts";
import type { Tool } from "../tools/tool.ts";
import { makeWorkspaces } from "./live.ts";

interface ConfigParts extends Pick<ConfigHandlerDeps, "bus" | "version" | "now" | "live"> {
  readonly configFile: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly tools: readonly Tool[];
  readonly store: Pick<Store, "configChanges">;
  readonly agents: AgentFacts;
  readonly gatewayKey: GatewayKey;
}

/** Reads the file once more: what of it counts only after a restart is judged by what it says now. */
export async function createConfigDeps({
  configFile,
  env,
  gatewayKey,
  store,
  agents,
  tools,
  ...deps
}: ConfigParts): Promise<ConfigHandlerDeps> {
  // A key of its own: made of the gateway's, and telling nothing of it.
  const hashKey = createSecretKey(Buffer.from(gatewayKey.sign("portreeve-config-hash"), "base64url"));
  const file = new ConfigFile(configFile, hashKey);
  return {
    ...deps,
    file,
    started: parseConfig((await file.read()).text, configFile),
    changes: store.configChanges,
    assertUsable: (config) => assertUsable(config, { configFile, env, tools }),
    isSeenByAgents: (folder) => isWithinAny(folder, agents.ids.map(agents.workspaceOf)),
    onTaken: () => makeWorkspaces(deps.live, agents),
  };
}

/** As the file system has it, links followed: what is not there lies nowhere. */
async function isWithinAny(folder: string, places: readonly string[]): Promise<boolean> {
  if (!isAbsolute(folder)) return false;
  const inner = await realpath(folder).catch(() => undefined);
  const outer = await Promise.all(places.map((place) => realpath(place).catch(() => undefined)));
  return inner !== undefined && outer.some((place) => place !== undefined && !/^\.\.(\/|$)/.test(relative(place, inner)));
}

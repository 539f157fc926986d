/** What no gateway starts with: judged at the start, before a change of the configuration is taken, and by the doctor. */
import { dirname } from "node:path";
import { findSecretSource, readSecretFile } from "./identity/shared-secret.ts";
import { openTls, type TlsPlaces } from "./identity/tls.ts";
import type { Config } from "./kit/config.ts";
import { assertMayStart } from "./kit/exposure.ts";
import { createToolsOf } from "./tools/agent-tools.ts";
import type { Tool } from "./tools/tool.ts";

export interface StartFacts {
  readonly configFile: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Every tool there is. */
  readonly tools: readonly Tool[];
}

/** By the configuration and the environment alone. @throws ConfigError */
export function assertUsable({ gateway, agents }: Config, { configFile, env, tools }: StartFacts): void {
  assertMayStart(gateway);
  findSecretSource(gateway.auth, env, dirname(configFile));
  const { maxSpawnDepth } = agents.defaults.subagents;
  createToolsOf({ tools, agents: agents.entries, maxSpawnDepth, source: configFile });
}

/** As `assertUsable`, and by the files that the configuration names. Makes none. @throws ConfigError */
export async function assertStarts(config: Config, facts: StartFacts & TlsPlaces): Promise<void> {
  assertUsable(config, facts);
  const source = findSecretSource(config.gateway.auth, facts.env, dirname(facts.configFile));
  if (source?.kind === "file") readSecretFile(source.path);
  if (config.gateway.tls.mode === "files") await openTls(config.gateway, facts);
}

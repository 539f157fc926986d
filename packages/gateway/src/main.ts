/** A gateway as a process runs it: configuration, composition, a file that says where it is, and the end. */
import { rm, writeFile } from "node:fs/promises";
import packageJson from "../package.json" with { type: "json" };
import { compose, type ComposeOptions, type Gateway } from "./compose.ts";
import { createSystemClock } from "./kit/clock.ts";
import { readConfig } from "./kit/config.ts";
import { findWarnings } from "./kit/exposure.ts";
import { runningFileIn } from "./kit/home.ts";
import { createIds } from "./kit/ids.ts";
import { createLog, type LogLevel } from "./kit/log.ts";
import { logFileIn, openLogFile } from "./kit/log-file.ts";
import { resolveDefaultModel } from "./models/defaults.ts";
import { createTools } from "./tools/all.ts";

export interface GatewayOptions {
  readonly configFile: string;
  readonly stateDir: string;
  readonly workspaceDir: string;
  /** Instead of the configured one; 0 takes a free one. */
  readonly port?: number | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly logLevel?: LogLevel | undefined;
  /** Beside the gateway's own. */
  readonly tools?: ComposeOptions["tools"];
}

export interface RunningGateway extends AsyncDisposable {
  readonly url: string;
  /** Where the shared secret is kept, or which setting holds it. */
  readonly secretFrom: string;
  /** SHA-256 of the certificate, for clients to pin; undefined without TLS. */
  readonly tlsFingerprint: string | undefined;
  /** What whoever starts the gateway must see: print every line. */
  readonly warnings: readonly string[];
  /** Runs that are at work now: a stop waits for them, and no longer than `drainSeconds`. */
  activeRuns(): number;
  readonly drainSeconds: number;
  readonly modelId: string;
  /** Why this model: a short phrase. */
  readonly modelWhy: string;
}

/**
 * Starts a gateway and resolves when it listens.
 * @throws ConfigError, StateKeyError, StateFolderError or ListenError, each with one line for a person.
 */
export async function runGateway(options: GatewayOptions): Promise<RunningGateway> {
  const { configFile, stateDir, workspaceDir, env } = options;
  const config = await readConfig(configFile);
  await using resources = new AsyncDisposableStack();
  const logFile = resources.use(openLogFile(logFileIn(stateDir)));
  const gateway = await compose({
    config: options.port === undefined ? config : { ...config, gateway: { ...config.gateway, port: options.port } },
    configFile,
    stateDir,
    workspaceDir,
    env,
    version: packageJson.version,
    log: createLog(options.logLevel ?? "info", logFile),
    clock: createSystemClock(),
    ids: createIds(),
    tools: [...createTools(), ...(options.tools ?? [])],
    checkResults: env["PORTREEVE_CHECK_RESULTS"] === "1",
  });
  const { tlsFingerprint, listener } = gateway;
  const { url } = listener;
  const runningFile = runningFileIn(stateDir);
  await writeFile(runningFile, `${JSON.stringify({ url, pid: process.pid, tlsFingerprint })}\n`, { mode: 0o600 });
  const model = resolveDefaultModel(config.agents.entries["main"]?.model ?? config.agents.defaults.model, env);
  const owned = resources.move();
  return {
    url,
    secretFrom: gateway.secretFrom,
    tlsFingerprint,
    warnings: [...findWarnings(config.gateway), ...findUnusable(gateway.agents)],
    activeRuns: gateway.activeRuns,
    drainSeconds: config.gateway.drainSeconds,
    modelId: model.id,
    modelWhy: model.why,
    async [Symbol.asyncDispose]() {
      await gateway[Symbol.asyncDispose]();
      await rm(runningFile, { force: true });
      await owned.disposeAsync();
    },
  };
}

/** Agents whose model cannot work as things are. */
function findUnusable({ ids, modelOf, problemWithModel }: Gateway["agents"]): readonly string[] {
  return ids.flatMap((id) => {
    const problem = problemWithModel(modelOf(id));
    return problem === undefined ? [] : [`agent ${id} cannot work: ${problem}. See ./portreeve doctor`];
  });
}

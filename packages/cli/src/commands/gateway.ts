/** `gateway run`: the gateway in the foreground. The only place that loads the gateway. */
import { isAbsolute, resolve } from "node:path";
import { findHome, type Home } from "@portreeve/gateway/home";
import type { GatewayOptions, RunningGateway } from "@portreeve/gateway/main";
import type { Command } from "commander";
import { wholeNumber, withExamples } from "../connecting.ts";
import { CliError } from "../exit.ts";
import { findConfigFile } from "../named-config.ts";
import { writeJson, writeLine, type Io } from "../output.ts";

interface GatewayFlags {
  readonly config?: string;
  readonly state?: string;
  readonly port?: number;
  readonly json?: boolean;
}

export function addGateway(program: Command, io: Io): void {
  const gateway = program.command("gateway").description("the gateway process");
  const command = gateway.command("run").description("run the gateway in the foreground until Ctrl-C");
  command
    .option("--config <file>", "configuration file (default: config.json5 in the home, which may be missing)")
    .option("--state <dir>", "state folder: database, keys, secret (default: state in the home)")
    .option("--port <port>", "TCP port; 0 takes a free one (default: the configured one, else 18789)", wholeNumber(0, 65_535))
    .option("--json", "print the start as one JSON object; errors too, on standard error");
  withExamples(command, "./portreeve gateway run", "./portreeve gateway run --port 0 --state /tmp/state");
  command.action((flags: GatewayFlags) => runInForeground(io, flags));
}

/** Starts a gateway in this process. @throws CliError with what stands in the way, in one line. */
export async function startGateway(options: GatewayOptions): Promise<RunningGateway> {
  const { runGateway } = await import("@portreeve/gateway/main");
  try {
    return await runGateway(options);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const remedy = remedyOf(error);
    throw new CliError("failed", `The gateway does not start: ${message}`, { code: "GATEWAY_START", remedy, cause: error });
  }
}

function remedyOf(error: unknown): string {
  if (!(error instanceof Error)) return startAgain;
  if ("remedy" in error && typeof error.remedy === "string") return error.remedy;
  if (error.name === "ConfigError") return "Put that right (every setting: docs/reference/config.md), then: ./portreeve gateway run";
  if ("code" in error && error.code === "ENOSPC") return "Free space on the disk (df -h), then: ./portreeve gateway run";
  return startAgain;
}

const startAgain = "Then start it again: ./portreeve gateway run. Whether one runs already: ./portreeve status";

async function runInForeground(io: Io, flags: GatewayFlags): Promise<void> {
  const home = findHome(io.env);
  const stateDir = flags.state === undefined ? home.stateDir : resolve(io.cwd, flags.state);
  const interrupted = io.interrupted();
  await using gateway = await startGateway({
    configFile: await findConfigFile(io, home, flags.config),
    stateDir,
    workspaceDir: home.workspaceDir,
    ...(flags.port === undefined ? {} : { port: flags.port }),
    env: io.env,
  });
  const { url, secretFrom, tlsFingerprint, warnings, modelId, modelWhy } = gateway;
  if (flags.json === true) writeJson(io, { url, secretFrom, tlsFingerprint, warnings, model: modelId, why: modelWhy });
  else writeLine(io, showStart(gateway, tellWay(gateway, { home, stateDir, isNamed: Boolean(io.env["PORTREEVE_HOME"]) })));
  await aborted(interrupted);
  const stop = showStop(gateway.activeRuns(), gateway.drainSeconds);
  if (stop !== undefined && flags.json !== true) io.err(`${stop}\n`);
}

/** What a stop waits for, or undefined. Pure. */
function showStop(runs: number, seconds: number): string | undefined {
  if (runs === 0 || seconds === 0) return undefined;
  const who = runs === 1 ? "1 run comes" : `${runs} runs come`;
  return `Stopping: ${who} to a safe point first, for at most ${seconds} s; the next start goes on from there. Ctrl-C again stops at once.`;
}

/** Where it is, what answers there, and what to do next. Pure. */
function showStart({ url, secretFrom, tlsFingerprint, warnings, modelId, modelWhy }: RunningGateway, way: string): string {
  const isScripted = modelId.startsWith("scripted/");
  return [
    ...warnings.map((warning) => `WARNING  ${warning}`),
    `Gateway  ${url}`,
    ...(tlsFingerprint === undefined ? [] : [`TLS      sha256 ${tlsFingerprint}`]),
    `Secret   ${secretFrom}`,
    `Model    ${modelId} (${modelWhy})`,
    ...(isScripted
      ? ["         It does not think. For one that does: ANTHROPIC_API_KEY, OPENAI_API_KEY or GEMINI_API_KEY, or README.md."]
      : []),
    `Next     in another terminal: ${way}./portreeve agent "hello"${way === "" ? "; ./portreeve agents says which model and folder each agent has." : ""}`,
    "Ctrl-C stops it.",
  ].join("\n");
}

interface Place {
  readonly home: Home;
  readonly stateDir: string;
  /** The home is not the one that another terminal looks in by itself. */
  readonly isNamed: boolean;
}

/** What another terminal must be told to find this gateway, before its command. Pure. */
function tellWay({ url, secretFrom, tlsFingerprint }: RunningGateway, { home, stateDir, isNamed }: Place): string {
  if (stateDir === home.stateDir) return isNamed ? `PORTREEVE_HOME=${quote(home.root)} ` : "";
  const isSetting = /^(gateway\.|PORTREEVE_)/.test(secretFrom);
  const words = [
    `PORTREEVE_URL=${url}`,
    ...(isAbsolute(secretFrom) ? [`PORTREEVE_TOKEN="$(cat ${quote(secretFrom)})"`] : isSetting ? ["PORTREEVE_TOKEN=SECRET"] : []),
    ...(tlsFingerprint === undefined ? [] : [`PORTREEVE_TLS_FINGERPRINT=${tlsFingerprint}`]),
  ];
  return `${words.join(" ")} `;
}

/** For a shell. */
function quote(path: string): string {
  return /^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", String.raw`'\''`)}'`;
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

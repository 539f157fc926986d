/** `demo`: a gateway on a fresh state folder, a device paired over a real socket, one question, two sub-agents, the counts. */
import { randomUUID } from "node:crypto";
import { mkdtempDisposable, readdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { leastScopes, openDeviceKey, openGatewayPins, openTokenStore, RemoteError, type GatewayClient } from "@portreeve/client";
import { secretFileIn } from "@portreeve/gateway/home";
import type { RunningGateway } from "@portreeve/gateway/main";
import type { Command } from "commander";
import manifest from "../../package.json" with { type: "json" };
import { Access, ceiling } from "../access.ts";
import { withExamples } from "../connecting.ts";
import { demoConfig, type DemoFlags } from "../demo/config.ts";
import { chooseEntryFile, defaultQuestion, promptFor, scriptFor } from "../demo/prompt.ts";
import { CliError, usageError } from "../exit.ts";
import { Narrator } from "../narrator.ts";
import { bold, dim, oneLine, plain, toTable, writeJson, writeLine, type Io } from "../output.ts";
import { RunWatch, type Seen } from "../run-watch.ts";
import { startGateway } from "./gateway.ts";

export function addDemo(program: Command, io: Io): void {
  const command = program
    .command("demo [question]")
    .description("show it at work: a gateway of its own, one question about a folder, two sub-agents");
  command
    .option("--dir <dir>", "the folder the question is about (default: the current one)")
    .option("--base-url <url>", "an OpenAI-compatible endpoint (Ollama, vLLM, llama.cpp); needs --model NAME")
    .option(
      "--model <name>",
      "the model's name at --base-url, or provider/name (default: a provider whose key is set, else the built-in scripted model)",
    )
    .option("--api-key-env <variable>", "the environment variable that holds the key for --base-url")
    .option("--json", "print events as JSON lines, and the answer with the counts as the last one");
  withExamples(
    command,
    "./portreeve demo",
    './portreeve demo "Where are sessions stored?" --dir ~/projects/thing',
    "./portreeve demo --base-url http://127.0.0.1:11434/v1 --model qwen3",
    "./portreeve demo --model anthropic/claude-sonnet-5-5",
  );
  command.action((question: string | undefined, flags: DemoFlags) => runDemo(io, question ?? defaultQuestion, flags));
}

interface DemoOutcome {
  readonly answer: string;
  readonly model: string;
  readonly selfSockets: number;
  readonly pairingPrompts: number;
  readonly children: { readonly accepted: number; readonly completed: number; readonly announced: number };
}

async function runDemo(io: Io, question: string, flags: DemoFlags): Promise<void> {
  const dir = resolve(io.cwd, flags.dir ?? ".");
  const names = await listFiles(dir);
  const config = demoConfig(flags, dir, io.env);
  const interrupted = io.interrupted();
  await using folder = await mkdtempDisposable(join(io.env["TMPDIR"] || tmpdir(), "portreeve-demo-"));
  await using gateway = await startOwnGateway(folder.path, config, io.env);
  const access = await accessTo(gateway, folder.path);
  const asked = { question, entryFile: chooseEntryFile(names) };
  const isScripted = gateway.modelId.startsWith("scripted/");
  const message = isScripted ? `${promptFor(asked)}\n${scriptFor(asked)}` : promptFor(asked);

  using client = await access.open(leastScopes("agent"));
  if (flags.json !== true) introduce(io, { gateway, isScripted, dir, question });
  const answer = await Promise.race([ask(client, message, createTeller(io, flags.json === true)), whenAborted(interrupted)]);
  const { connections, pairing, children } = await client.call("status", {});
  const { accepted, completed, announced } = children;
  const outcome: DemoOutcome = {
    answer,
    model: gateway.modelId,
    selfSockets: connections.accepted - access.socketsOpened,
    pairingPrompts: pairing.requestsCreated,
    children: { accepted, completed, announced },
  };
  if (flags.json === true) writeJson(io, outcome);
  else conclude(io, outcome);
}

async function listFiles(dir: string): Promise<readonly string[]> {
  try {
    return (await readdir(dir, { withFileTypes: true })).filter((entry) => entry.isFile()).map((entry) => entry.name);
  } catch (error) {
    throw usageError(
      `--dir ${dir} cannot be read (${error instanceof Error && "code" in error ? String(error.code) : String(error)}); expected a folder.`,
    );
  }
}

/** A secret in the environment belongs to another gateway: this one makes its own. */
async function startOwnGateway(folder: string, config: object, env: Io["env"]): Promise<RunningGateway> {
  const configFile = join(folder, "config.json5");
  await writeFile(configFile, JSON.stringify(config), { mode: 0o600 });
  const { PORTREEVE_TOKEN: _other, ...rest } = env;
  try {
    return await startGateway({
      configFile,
      stateDir: join(folder, "state"),
      workspaceDir: join(folder, "workspace"),
      port: 0,
      env: rest,
      logLevel: "silent",
    });
  } catch (error) {
    // What it says of its files is gone with them.
    throw error instanceof CliError ? failed(error.message.replaceAll(`${configFile}: `, ""), error.code) : error;
  }
}

async function accessTo(gateway: RunningGateway, folder: string): Promise<Access> {
  const secret = { value: (await readFile(secretFileIn(join(folder, "state")), "utf8")).trim(), onlyFor: undefined };
  const cliDir = join(folder, "cli");
  return new Access({
    target: { url: gateway.url, tlsFingerprint: gateway.tlsFingerprint, secret: () => Promise.resolve(secret) },
    device: () => openDeviceKey(join(cliDir, "device.pem")),
    tokens: openTokenStore(join(cliDir, "tokens.json")),
    pins: openGatewayPins(join(cliDir, "gateways.json")),
    version: manifest.version,
  });
}

const remedy = "To see it on the built-in model, which needs no provider: ./portreeve demo --model scripted";

/** The demo's gateway, its log and its agents are gone when this is read. */
function failed(message: string, code: string): CliError {
  return new CliError("failed", message, { code, remedy });
}

/** Runs the agent and waits for whatever its children still bring. @throws CliError when it did not succeed. */
async function ask(client: GatewayClient, message: string, tell: (seen: Seen) => void): Promise<string> {
  const params = { message, idempotencyKey: randomUUID() };
  using watch = new RunWatch(client, params.idempotencyKey, tell);
  const { status, summary, result } = await client.call("agent", params).catch((error: unknown) => {
    throw error instanceof RemoteError ? failed(`The run did not succeed: ${error.message}`, error.code) : error;
  });
  if (status !== "ok")
    throw new CliError(status === "timeout" ? "timeout" : "failed", `The run did not succeed: ${summary}`, { code: "RUN_FAILED", remedy });
  const later = (await watch.settled()).at(-1);
  if (later !== undefined && later.status !== "ok") throw failed(`The run did not succeed: ${later.text}`, "RUN_FAILED");
  return later?.text ?? result.payloads.map(({ text }) => text).join("\n");
}

function whenAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const stop = (): void =>
      reject(
        new CliError("failed", "Interrupted; the demo's gateway is stopped and its folder removed.", {
          remedy: "Start it again: ./portreeve demo",
        }),
      );
    if (signal.aborted) return stop();
    signal.addEventListener("abort", stop, { once: true });
  });
}

function createTeller(io: Io, asJson: boolean): (seen: Seen) => void {
  const narrator = new Narrator();
  return (seen) => {
    if (asJson) return writeJson(io, seen);
    // The parent's own words are the answer, printed whole at the end.
    if (seen.kind === "text" && seen.by.depth === 0) return;
    for (const line of narrator.tell(seen)) writeLine(io, seen.kind === "text" || seen.kind === "tool" ? dim(io, `  ${line}`) : line);
  };
}

function introduce(io: Io, about: { gateway: RunningGateway; isScripted: boolean; dir: string; question: string }): void {
  const { gateway, isScripted, dir, question } = about;
  const note = isScripted ? "; it does not think, it takes the steps of a script, on real files" : "";
  const rows = [
    ["Gateway", `${gateway.url}, on a fresh state folder that is removed at the end`],
    ["Model", `${gateway.modelId} (${gateway.modelWhy}${note})`],
    ["Device", `paired over a WebSocket, may be granted ${ceiling.join(", ")}`],
    ["Connection", `has ${leastScopes("agent").join(", ")}`],
    ["Folder", dir],
    ["Question", question],
  ];
  const width = Math.max(...rows.map(([name = ""]) => name.length));
  for (const [name = "", value = ""] of rows) writeLine(io, `${bold(io, name.padEnd(width))}  ${oneLine(value, 200)}`);
  writeLine(io, "");
}

function conclude(io: Io, { answer, selfSockets, pairingPrompts, children }: DemoOutcome): void {
  const rows = [
    ["sockets the gateway accepted that this client did not open", String(selfSockets)],
    ["pairing requests created", String(pairingPrompts)],
    ["sub-agents accepted / completed / announced", `${children.accepted}/${children.completed}/${children.announced}`],
  ];
  writeLine(io, `\n${bold(io, "Answer")}\n${plain(answer)}\n\n${bold(io, "Counts, from the gateway's status")}`);
  for (const line of toTable(["", ""], rows).trimStart().split("\n")) writeLine(io, line);
  writeLine(io, '\nNext: ./portreeve gateway run, then ./portreeve agent "…" in another terminal.');
}

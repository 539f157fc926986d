/** `logs`: the gateway's log, its newest lines and what follows. */
import { resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { isRecord, type Result } from "@portreeve/protocol/wire";
import type { Command } from "commander";
import { connecting, findAccess, wholeNumber, withExamples, type ConnectingFlags } from "../connecting.ts";
import { oneLine, plain, writeLine, type Io } from "../output.ts";

interface LogsFlags extends ConnectingFlags {
  readonly limit?: number;
  readonly follow?: boolean;
  readonly interval?: number;
  readonly state?: string;
}

export function addLogs(program: Command, io: Io): void {
  const command = connecting(program.command("logs").description("the gateway's log: its newest lines"));
  command
    .option("--limit <count>", "how many lines at most (default: 200)", wholeNumber(1, 5_000))
    .option("--follow", "go on with what is written, until Ctrl-C")
    .option("--state <dir>", "read the log of this state folder instead of asking a gateway")
    .option("--interval <ms>", "how often to look, with --follow (default: 1000)", wholeNumber(50, 60_000));
  withExamples(
    command,
    "./portreeve logs",
    "./portreeve logs --follow",
    "./portreeve logs --state ~/.portreeve/state",
    `./portreeve logs --json --limit 5000 | grep '"level":"error"'`,
  );
  command.action((flags: LogsFlags) => runLogs(io, flags));
}

/** The next lines after the cursor, or the newest. */
type Tail = (ask: { readonly cursor?: number; readonly limit: number }) => Promise<Pick<Result<"logs.tail">, "lines" | "cursor">>;

async function runLogs(io: Io, flags: LogsFlags): Promise<void> {
  if (flags.state !== undefined) return await show(io, flags, await tailOf(resolve(io.cwd, flags.state)));
  const access = await findAccess(io, flags);
  using client = await access.open(["operator.read"]);
  await show(io, flags, (ask) => client.call("logs.tail", ask));
}

/** Of a gateway that does not answer, or does not run. */
async function tailOf(stateDir: string): Promise<Tail> {
  const { logFileIn, tailLog } = await import("@portreeve/gateway/log-file");
  return (ask) =>
    tailLog(logFileIn(stateDir), { ...ask, maxBytes: 1_000_000 }).then(({ lines, ...tail }) => ({ ...tail, lines: [...lines] }));
}

async function show(io: Io, { limit = 200, follow = false, interval = 1_000, json }: LogsFlags, tail: Tail): Promise<void> {
  const interrupted = follow ? io.interrupted() : undefined;
  const print = ({ lines, cursor }: Awaited<ReturnType<Tail>>): number => {
    for (const line of lines) writeLine(io, json === true ? plain(line) : toReadable(line));
    return cursor;
  };
  let cursor = print(await tail({ limit }));
  while (interrupted?.aborted === false && (await rest(interval, interrupted))) cursor = print(await tail({ cursor, limit: 5_000 }));
}

/** Whether nobody interrupted it. */
async function rest(ms: number, signal: AbortSignal): Promise<boolean> {
  return sleep(ms, true, { signal }).catch(() => false);
}

/** One line of the log for a person: time, level, what happened, with what. Pure. */
export function toReadable(line: string): string {
  const entry = parse(line);
  if (entry === undefined) return oneLine(line, 400);
  const { time, level, msg, ...facts } = entry;
  const words = Object.entries(facts).map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`);
  return oneLine([String(time ?? "-"), String(level ?? "-").padEnd(5), String(msg ?? ""), ...words].join(" "), 400);
}

function parse(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

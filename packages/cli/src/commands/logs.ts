/** `logs`: the gateway's log, its newest lines and what follows. */
import { setTimeout as sleep } from "node:timers/promises";
import { isRecord, type Result } from "@portreeve/protocol/wire";
import type { Command } from "commander";
import { connecting, findAccess, wholeNumber, withExamples, type ConnectingFlags } from "../connecting.ts";
import { oneLine, plain, writeLine, type Io } from "../output.ts";

interface LogsFlags extends ConnectingFlags {
  readonly limit?: number;
  readonly follow?: boolean;
  readonly interval?: number;
}

export function addLogs(program: Command, io: Io): void {
  const command = connecting(program.command("logs").description("the gateway's log: its newest lines"));
  command
    .option("--limit <count>", "how many lines at most (default: 200)", wholeNumber(1, 5_000))
    .option("--follow", "go on with what is written, until Ctrl-C")
    .option("--interval <ms>", "how often to look, with --follow (default: 1000)", wholeNumber(50, 60_000));
  withExamples(command, "./portreeve logs", "./portreeve logs --follow", `./portreeve logs --json --limit 5000 | grep '"level":"error"'`);
  command.action((flags: LogsFlags) => runLogs(io, flags));
}

async function runLogs(io: Io, { limit = 200, follow = false, interval = 1_000, ...flags }: LogsFlags): Promise<void> {
  const interrupted = follow ? io.interrupted() : undefined;
  const access = await findAccess(io, flags);
  using client = await access.open(["operator.read"]);
  const show = (tail: Result<"logs.tail">): number => {
    for (const line of tail.lines) writeLine(io, flags.json === true ? plain(line) : toReadable(line));
    return tail.cursor;
  };
  let cursor = show(await client.call("logs.tail", { limit }));
  while (interrupted?.aborted === false) {
    if (!(await rest(interval, interrupted))) return;
    cursor = show(await client.call("logs.tail", { cursor }));
  }
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

/** `cron`: jobs that start an agent at their time. */
import { type GatewayClient, leastScopes } from "@portreeve/client";
import type { MethodName, ParamsInput, Result } from "@portreeve/protocol/wire";
import { type Command, InvalidArgumentError } from "commander";
import { connecting, findAccess, wholeNumber, withExamples, type ConnectingFlags } from "../connecting.ts";
import { assertSaid, CliError, usageError } from "../exit.ts";
import { oneLine, toMinute, toTable, writeJson, writeLine, type Io } from "../output.ts";

type Schedule = ParamsInput<"cron.add">["schedule"];
type Job = Result<"cron.list">["jobs"][number];

interface AddFlags extends ConnectingFlags {
  readonly at?: string;
  readonly every?: number;
  readonly cron?: string;
  readonly tz?: string;
  readonly name?: string;
  readonly session?: string;
  readonly agent?: string;
  readonly model?: string;
  readonly timeout?: number;
  readonly tools?: string;
  readonly keep?: boolean;
  readonly disabled?: boolean;
}

const times = `
Times: --at 2030-01-31T09:00:00Z (UTC when no offset is named) or --at +20m; --every 30s, 20m, 2h or 1d;
--cron with five fields (minute hour day month weekday) or six (seconds first), in --tz or the gateway's own time zone.
Times that pass while the gateway is down are made up for by one run.`;

export function addCron(program: Command, io: Io): void {
  const cron = program.command("cron").description("jobs: an agent started at a time, at an interval or by a cron expression");
  cron.addHelpText("after", "\nA JOB is its name, or the beginning of its id as `./portreeve cron` shows it.");
  addList(cron, io);
  addAdd(cron, io);
  addDecisions(cron, io);
  addHistory(cron, io);
}

function addList(cron: Command, io: Io): void {
  const list = connecting(cron.command("list", { isDefault: true }).description("jobs, the next one first (the default)"));
  list.option("--all", "disabled ones too").allowExcessArguments();
  withExamples(list, "./portreeve cron", "./portreeve cron list --all --json");
  list.action(async (flags: ConnectingFlags & { readonly all?: boolean }) => {
    // A word that is no command of the group arrives here, as an argument of the group's default.
    const [unknown] = list.args;
    if (unknown !== undefined) throw usageError(`unknown command '${unknown}' of cron`, "See `./portreeve cron --help`.");
    await tell(io, flags, "cron.list", async (client) => {
      const result = await client.call("cron.list", { limit: 200, includeDisabled: flags.all === true });
      return { result, text: showJobs(result, flags.all === true) };
    });
  });
}

function addAdd(cron: Command, io: Io): void {
  const add = connecting(cron.command("add <message>").description("start an agent with a message at a time")).addHelpText("after", times);
  add
    .option("--at <time>", "once, at a moment or so long from now")
    .option("--every <interval>", "again and again", toInterval)
    .option("--cron <expression>", "at the times of a cron expression")
    .option("--tz <zone>", "the expression's time zone, such as Europe/Berlin")
    .option("--name <name>", "what it is called (default: the message)")
    .option("--session <key>", "where it speaks: main, isolated (one of its own each time; the default) or a session's key")
    .option("--agent <id>", "which agent")
    .option("--model <id>", "provider/name, instead of the agent's")
    .option("--timeout <seconds>", "how long a run may take", wholeNumber(1, 31_536_000))
    .option("--tools <list>", "only these tools, separated by commas")
    .option("--keep", "keep it after its only time (--at)")
    .option("--disabled", "add it without letting it run");
  withExamples(
    add,
    './portreeve cron add "What is new in the inbox?" --every 1h',
    './portreeve cron add "Sum up the week" --cron "0 17 * * 5" --tz Europe/Berlin --name "weekly"',
    './portreeve cron add "Remind me of the call" --at +20m --session main',
  );
  add.action((message: string, flags: AddFlags) => {
    const remedy = 'Such as ./portreeve cron add "Sum up the week" --every 1d';
    assertSaid(message, "message", { expected: "what the agent is to do", remedy });
    return tell(io, flags, "cron.add", async (client) => {
      await assertTools(client, parseTools(flags.tools));
      const job = await client.call("cron.add", toJob(message, flags, Date.now()));
      const when = job.nextRunAtMs === undefined ? "it is disabled" : `next at ${toMinute(job.nextRunAtMs)}`;
      return { result: job, text: `Added ${shortJobId(job.id)} (${oneLine(job.name, 60)}): ${when}.` };
    });
  });
}

function parseTools(list: string | undefined): readonly string[] {
  return list === undefined ? [] : list.split(",").map((name) => name.trim());
}

/** A name that no tool has would leave the job without the one that was meant. @throws CliError */
async function assertTools(client: GatewayClient, names: readonly string[]): Promise<void> {
  if (names.length === 0 || names.includes("*")) return;
  const { groups } = await client.call("tools.catalog", {});
  const known = groups.flatMap(({ tools }) => tools.map(({ id }) => id));
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length === 0) return;
  throw usageError(`There is no tool ${unknown.join(", ")}; the tools are ${known.join(", ")}.`, "See `./portreeve cron add --help`.");
}

function addDecisions(cron: Command, io: Io): void {
  const named = (verb: string, about: string): Command => {
    const command = connecting(cron.command(`${verb} <job>`).description(about));
    return withExamples(command, `./portreeve cron ${verb} weekly`);
  };
  named("run", "run a job now, beside its schedule").action((jobId: string, flags: ConnectingFlags) =>
    tell(io, flags, "cron.run", async (client) => {
      const result = await client.call("cron.run", { id: await findJobId(client, jobId) });
      const why = result.error === undefined ? (result.reason ?? "") : `${result.reason}: ${result.error}`;
      return {
        result,
        text: result.runId === undefined ? `It did not start: ${oneLine(why, 200)}.` : `Started: ./portreeve runs show ${result.runId}`,
      };
    }),
  );
  named("remove", "remove a job; what it has started goes on").action((jobId: string, flags: ConnectingFlags) =>
    tell(io, flags, "cron.remove", async (client) => {
      return { result: await client.call("cron.remove", { id: await findJobId(client, jobId) }), text: `Removed ${oneLine(jobId)}.` };
    }),
  );
  for (const [verb, enabled] of [
    ["enable", true],
    ["disable", false],
  ] as const) {
    const about = enabled ? "let a job run, with your own authority" : "keep a job, but let it not run by itself";
    named(verb, about).action((jobId: string, flags: ConnectingFlags) =>
      tell(io, flags, "cron.update", async (client) => {
        const job = await client.call("cron.update", { id: await findJobId(client, jobId), patch: { enabled } });
        const when = job.nextRunAtMs === undefined ? "" : `: next at ${toMinute(job.nextRunAtMs)}`;
        return { result: job, text: `${enabled ? "Enabled" : "Disabled"} ${oneLine(jobId)}${when}.` };
      }),
    );
  }
}

function addHistory(cron: Command, io: Io): void {
  const runs = connecting(cron.command("runs [job]").description("what came of a job's times, or of every job's, newest first"));
  runs.option("--limit <n>", "rows at most (default: 30)", wholeNumber(1, 200));
  withExamples(runs, "./portreeve cron runs", "./portreeve cron runs weekly --limit 5 --json");
  runs.action((jobId: string | undefined, { limit = 30, ...flags }: ConnectingFlags & { readonly limit?: number }) =>
    tell(io, flags, "cron.runs", async (client) => {
      const result = await client.call("cron.runs", { limit, ...(jobId === undefined ? {} : { id: await findKnownJobId(client, jobId) }) });
      return { result, text: showHistory(result) };
    }),
  );
}

async function tell(
  io: Io,
  flags: ConnectingFlags,
  method: MethodName,
  work: (client: GatewayClient) => Promise<{ readonly result: object; readonly text: string }>,
): Promise<void> {
  const access = await findAccess(io, flags);
  using client = await access.open(leastScopes(method));
  const { result, text } = await work(client);
  if (flags.json === true) writeJson(io, result);
  else writeLine(io, text);
}

const shortest = 4;
const pageSize = 200;

/** As `findJobId`; a whole id may be that of a job which is gone. @throws CliError when no job is meant. */
async function findKnownJobId(client: GatewayClient, text: string): Promise<string> {
  const id = await findJobId(client, text);
  if (isJobId(id)) return id;
  const remedy = "See the jobs there are: ./portreeve cron list --all";
  throw new CliError("failed", `There is no job ${text}.`, { code: "CRON_JOB_NOT_FOUND", remedy });
}

function isJobId(text: string): boolean {
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text);
}

/** The id of the job that a person means. @throws CliError when it may mean several. */
async function findJobId(client: GatewayClient, text: string): Promise<string> {
  if (isJobId(text)) return text;
  const found: Job[] = [];
  for (let offset: number | null = 0; offset !== null;) {
    const page: Result<"cron.list"> = await client.call("cron.list", { includeDisabled: true, limit: pageSize, offset });
    found.push(...page.jobs);
    offset = page.nextOffset;
  }
  return chooseJob(found, text);
}

/** What none is called is left to the gateway, which says so. Pure. */
export function chooseJob(jobs: readonly Pick<Job, "id" | "name">[], text: string): string {
  const fits = jobs.filter(({ id, name }) => name === text || (text.length >= shortest && id.startsWith(text)));
  if (fits.length > 1) {
    const lines = fits.slice(0, 20).map(({ id, name }) => `  ${id}  ${oneLine(name, 60)}`);
    throw new CliError("usage", `${fits.length} jobs are called ${text}:\n${lines.join("\n")}`, { remedy: "Give the whole id." });
  }
  return fits[0]?.id ?? text;
}

function shortJobId(id: string): string {
  return id.slice(0, 8);
}

/** Pure. */
export function toJob(message: string, flags: AddFlags, nowMs: number): ParamsInput<"cron.add"> {
  const { session = "isolated", agent, model, timeout, tools, keep, disabled } = flags;
  return {
    name: oneLine(flags.name ?? message, 60),
    schedule: toSchedule(flags, nowMs),
    sessionTarget: session === "main" || session === "isolated" ? session : `session:${session}`,
    wakeMode: "now",
    payload: {
      kind: "agentTurn",
      message,
      ...(model === undefined ? {} : { model }),
      ...(timeout === undefined ? {} : { timeoutSeconds: timeout }),
      ...(tools === undefined ? {} : { toolsAllow: [...parseTools(tools)] }),
    },
    ...(agent === undefined ? {} : { agentId: agent }),
    ...(keep === true ? { deleteAfterRun: false } : {}),
    ...(disabled === true ? { enabled: false } : {}),
  };
}

function toSchedule({ at, every, cron, tz }: AddFlags, nowMs: number): Schedule {
  const named = [at, every, cron].filter((one) => one !== undefined);
  if (named.length !== 1) throw usageError("name one of --at, --every and --cron", "See `./portreeve cron add --help`.");
  if (tz !== undefined && cron === undefined)
    throw usageError("--tz goes with --cron", "Name an offset in --at: 2030-01-31T09:00:00+01:00");
  if (cron !== undefined) return { kind: "cron", expr: cron, ...(tz === undefined ? {} : { tz }) };
  if (every !== undefined) return { kind: "every", everyMs: every };
  const moment = at?.startsWith("+") === true ? new Date(nowMs + toInterval(at.slice(1))).toISOString() : (at ?? "");
  return { kind: "at", at: moment };
}

const unitMs: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

function toInterval(text: string): number {
  const found = /^(\d{1,6})([smhd])$/.exec(text);
  if (found === null) throw new InvalidArgumentError("Expected a number and s, m, h or d, such as 20m.");
  return Number(found[1]) * (unitMs[found[2] ?? ""] ?? 0);
}

function showJobs({ jobs, total }: Result<"cron.list">, isAll: boolean): string {
  if (jobs.length === 0) return `There is no ${isAll ? "" : "enabled "}job. Add one: ./portreeve cron add "hello" --every 1h`;
  const rows = jobs.map((job) => [
    shortJobId(job.id),
    job.name,
    showSchedule(job),
    toNext(job),
    toLast(job),
    job.sessionTarget,
    job.actsFor.slice(0, "device:".length + 8),
  ]);
  const more = total > jobs.length ? `\nThere are ${total - jobs.length} more: ./portreeve call cron.list '{"offset":${jobs.length}}'` : "";
  return `${toTable(["JOB", "NAME", "WHEN", "NEXT", "LAST", "SESSION", "ACTS FOR"], rows)}${more}`;
}

function showSchedule({ schedule }: Job): string {
  if (schedule.kind === "at") return schedule.at;
  if (schedule.kind === "cron") return schedule.tz === undefined ? schedule.expr : `${schedule.expr} ${schedule.tz}`;
  const { everyMs } = schedule;
  const [unit = "s", ms = 1_000] = Object.entries(unitMs).findLast(([, one]) => everyMs % one === 0) ?? [];
  return `every ${everyMs / ms}${unit}`;
}

function toNext({ enabled, state: { nextRunAtMs, runningAtMs } }: Job): string {
  const next = enabled ? toMinute(nextRunAtMs) : "disabled";
  return runningAtMs === undefined ? next : `${next}, works now`;
}

function toLast({ state: { lastStatus, lastError } }: Job): string {
  return lastError === undefined ? (lastStatus ?? "-") : `${lastStatus ?? ""} ${oneLine(lastError, 60)}`.trim();
}

function showHistory({ entries, total }: Result<"cron.runs">): string {
  if (entries.length === 0) return "No time of a job has come to pass.";
  const rows = entries.map(({ runAtMs, jobName, status, durationMs, error, summary, runId }) => [
    toMinute(runAtMs),
    jobName,
    status,
    durationMs === undefined ? "-" : `${(durationMs / 1_000).toFixed(1)} s`,
    oneLine(error ?? summary ?? "", 60),
    runId ?? "-",
  ]);
  const more = total > entries.length ? `\nThere are ${total - entries.length} more: --limit` : "";
  return `${toTable(["TIME", "JOB", "STATUS", "TOOK", "WHAT CAME OF IT", "RUN"], rows)}${more}`;
}

/** `usage`: tokens and cost, by day and by session. */
import { leastScopes } from "@portreeve/client";
import type { Result } from "@portreeve/protocol/wire";
import type { Command } from "commander";
import { connecting, findAccess, wholeNumber, withExamples, type ConnectingFlags } from "../connecting.ts";
import { toTable, writeJson, writeLine, type Io } from "../output.ts";

interface UsageFlags extends ConnectingFlags {
  readonly days?: number;
  readonly session?: string;
}

type Totals = Result<"usage.cost">["totals"];

export function addUsage(program: Command, io: Io): void {
  const command = connecting(program.command("usage").description("tokens and cost of model calls, by day and session (days in UTC)"));
  command
    .option("--days <n>", "how many days, today included (default: 30)", wholeNumber(1, 3_660))
    .option("--session <key>", "of one session alone");
  withExamples(command, "./portreeve usage", "./portreeve usage --days 7 --session main --json");
  command.action((flags: UsageFlags) => runUsage(io, flags));
}

async function runUsage(io: Io, { days = 30, session, ...flags }: UsageFlags): Promise<void> {
  const access = await findAccess(io, flags);
  using client = await access.open(leastScopes("sessions.usage", {}));
  const startDate = new Date(Date.now() - (days - 1) * 86_400_000).toISOString().slice(0, 10);
  const result = await client.call("sessions.usage", { startDate, ...(session === undefined ? {} : { key: session }) });
  if (flags.json === true) writeJson(io, result);
  else writeLine(io, showUsage(result));
}

/** Pure. */
export function showUsage({ sessions, totals, aggregates, startDate, endDate }: Result<"sessions.usage">): string {
  if (sessions.length === 0) return `No model call between ${startDate} and ${endDate}.`;
  const headings = (first: string): readonly string[] => [first, "IN", "CACHED", "OUT", "COST"];
  const models = aggregates.byModel.map(({ provider, model, totals: used }) => toRow(`${provider}/${model}`, used));
  const rest = aggregates.sessionCount - sessions.length;
  return [
    toTable(
      headings("SESSION"),
      sessions.map(({ key, usage }) => toRow(key, usage)),
    ),
    ...(rest === 0 ? [] : [`${rest} more sessions are in the totals.`]),
    "",
    toTable(headings("MODEL"), [...models, toRow(`all, ${startDate} to ${endDate}`, totals)]),
    ...(totals.missingCostEntries === 0
      ? []
      : [`${totals.missingCostEntries} calls have no known price: set models.prices in config.json5 for their models.`]),
  ].join("\n");
}

function toRow(name: string, used: Totals): readonly string[] {
  const { input, cacheRead, cacheWrite, output } = used;
  return [name, String(input + cacheWrite), String(cacheRead), String(output), toCost(used)];
}

/** What is not known is never shown as nothing. Pure. */
export function toCost({ totalCost, missingCostEntries }: Pick<Totals, "totalCost" | "missingCostEntries">): string {
  const known = `$${totalCost.toFixed(totalCost < 0.01 ? 6 : 2)}`;
  if (missingCostEntries === 0) return known;
  return totalCost === 0 ? "unknown" : `${known} + unknown`;
}

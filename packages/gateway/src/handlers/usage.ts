/** Usage and cost of model calls, from the ledger. */
import { ProtocolError, type Result } from "@portreeve/protocol";
import type { Handlers } from "../dispatch/types.ts";
import type { UsageSum } from "../store/usage.ts";
import { type HandlerDeps, resolveSession, splitModel } from "./deps.ts";

type Methods = "usage.cost" | "usage.status" | "sessions.usage";
type Totals = Result<"usage.cost">["totals"];
type SessionUse = Result<"sessions.usage">["sessions"][number];
type Aggregates = Result<"sessions.usage">["aggregates"];
type ModelUse = SessionUse["usage"]["modelUsage"][number];

const dayMs = 86_400_000;
const defaultDays = 30;
const defaultSessions = 50;
const maxSessions = 1_000;
const rangeDays = { "7d": 7, "30d": 30, "90d": 90, "1y": 365, all: 36_600 } as const;

export function usageHandlers(deps: HandlerDeps): Pick<Handlers, Methods> {
  return {
    "usage.cost": async (_context, { days, agentId, ...params }) => {
      const period = toPeriod(params, days ?? defaultDays, deps.now());
      const sums = await deps.store.usage.list({ ...period, agentId });
      const daily = [...Map.groupBy(sums, ({ day }) => day)].map(([day, some]) => ({ date: toDate(day), ...addUp(some) }));
      return { updatedAt: deps.now(), days: period.days, daily, totals: addUp(sums) };
    },

    "sessions.usage": async (_context, { key, range, limit = defaultSessions, agentId, ...params }) => {
      const period = toPeriod(params, rangeDays[range ?? "30d"], deps.now());
      const sessionKey = key === undefined ? undefined : resolveSession(deps.agents, key, agentId).key;
      const sums = await deps.store.usage.list({ ...period, sessionKey, agentId });
      const bySession = [...Map.groupBy(sums, ({ sessionId }) => sessionId).values()].toSorted((a, b) => lastOf(b) - lastOf(a));
      return {
        updatedAt: deps.now(),
        startDate: toDate(period.firstDay),
        endDate: toDate(period.firstDay + period.days - 1),
        sessions: await Promise.all(bySession.slice(0, Math.min(limit, maxSessions)).map((some) => toSessionUse(deps, some))),
        totals: addUp(sums),
        aggregates: toAggregates(sums, bySession.length),
      };
    },

    "usage.status": () => Promise.resolve({ updatedAt: deps.now(), providers: [] }),
  };
}

async function toSessionUse(deps: HandlerDeps, sums: readonly UsageSum[]): Promise<SessionUse> {
  const [{ sessionKey: key, sessionId, agentId } = { sessionKey: "", sessionId: "", agentId: "" }] = sums;
  const session = await deps.store.sessions.findById(sessionId);
  const [firstActivity, lastActivity] = [Math.min(...sums.map(({ firstMs }) => firstMs)), lastOf(sums)];
  const byDay = [...Map.groupBy(sums, ({ day }) => day)];
  return {
    key,
    ...(session?.label === undefined ? {} : { label: session.label }),
    sessionId,
    updatedAt: session?.updatedAtMs ?? lastActivity,
    agentId,
    usage: {
      sessionId,
      firstActivity,
      lastActivity,
      durationMs: lastActivity - firstActivity,
      activityDates: byDay.map(([day]) => toDate(day)),
      dailyBreakdown: byDay.map(([day, some]) => ({ date: toDate(day), ...toDailyUse(addUp(some)) })),
      dailyMessageCounts: byDay.map(([day, some]) => ({ date: toDate(day), ...countMessages(some) })),
      messageCounts: countMessages(sums),
      modelUsage: toModelUses(sums),
      ...addUp(sums),
    },
  };
}

function toAggregates(sums: readonly UsageSum[], sessionCount: number): Aggregates {
  const byDay = [...Map.groupBy(sums, ({ day }) => toDate(day))];
  return {
    sessionCount,
    messages: countMessages(sums),
    tools: { totalCalls: 0, uniqueTools: 0, tools: [] },
    byModel: toModelUses(sums),
    byProvider: [...Map.groupBy(sums, ({ model }) => splitModel(model).provider)].map(([provider, some]) => ({
      provider,
      count: countCalls(some),
      totals: addUp(some),
    })),
    byAgent: [...Map.groupBy(sums, ({ agentId }) => agentId)].map(([agentId, some]) => ({ agentId, totals: addUp(some) })),
    byChannel: [],
    byCreator: [],
    costDaily: byDay.map(([date, some]) => ({ date, ...addUp(some) })),
    dailyLatency: [],
    modelDaily: byDay.flatMap(([date, some]) =>
      toModelUses(some).map(({ provider, model, count, totals }) => ({ date, provider, model, count, ...toDailyUse(totals) })),
    ),
    daily: byDay.map(([date, some]) => ({ date, ...toDailyUse(addUp(some)), messages: countCalls(some), toolCalls: 0, errors: 0 })),
  };
}

function toDailyUse({ totalTokens, totalCost }: Totals): { readonly tokens: number; readonly cost: number } {
  return { tokens: totalTokens, cost: totalCost };
}

function countCalls(sums: readonly UsageSum[]): number {
  return sums.reduce((sum, { calls }) => sum + calls, 0);
}

/** The ledger knows of calls alone. */
function countMessages(sums: readonly UsageSum[]): Aggregates["messages"] {
  const assistant = countCalls(sums);
  return { total: assistant, user: 0, assistant, toolCalls: 0, toolResults: 0, errors: 0 };
}

function toModelUses(sums: readonly UsageSum[]): ModelUse[] {
  return [...Map.groupBy(sums, ({ model }) => model)].map(([id, some]) => {
    const { provider, name } = splitModel(id);
    return { provider, model: name, count: countCalls(some), totals: addUp(some) };
  });
}

/** Pure. Dollars are divided out at the very end: sums of them would not be exact. */
export function addUp(sums: readonly UsageSum[]): Totals {
  const add = (of: (sum: UsageSum) => number): number => sums.reduce((total, sum) => total + of(sum), 0);
  const [input, output, cacheRead, cacheWrite] = [
    add((one) => one.input),
    add((one) => one.output),
    add((one) => one.cacheRead),
    add((one) => one.cacheWrite),
  ];
  const costs = [
    add((one) => one.cost.input),
    add((one) => one.cost.output),
    add((one) => one.cost.cacheRead),
    add((one) => one.cost.cacheWrite),
  ] as const;
  const [inputCost, outputCost, cacheReadCost, cacheWriteCost] = costs;
  return {
    input,
    output,
    cacheRead,
    cacheWrite,
    totalTokens: input + output + cacheRead + cacheWrite,
    totalCost: (inputCost + outputCost + cacheReadCost + cacheWriteCost) / 1_000_000,
    inputCost: inputCost / 1_000_000,
    outputCost: outputCost / 1_000_000,
    cacheReadCost: cacheReadCost / 1_000_000,
    cacheWriteCost: cacheWriteCost / 1_000_000,
    missingCostEntries: add((one) => one.unpricedCalls),
  };
}

interface PeriodParams {
  readonly startDate?: string | undefined;
  readonly endDate?: string | undefined;
  readonly mode?: "utc" | "gateway" | "specific" | undefined;
  readonly utcOffset?: string | undefined;
}

interface Period {
  readonly firstDay: number;
  readonly days: number;
  readonly fromMs: number;
  readonly toMs: number;
  readonly offsetMs: number;
}

/** The days from `startDate` to `endDate`, both included; else the last `days`. The gateway counts its days in UTC. Pure. */
export function toPeriod({ startDate, endDate, mode, utcOffset }: PeriodParams, days: number, nowMs: number): Period {
  const offsetMs = mode === "specific" ? parseOffset(utcOffset) : 0;
  const lastDay = endDate === undefined ? Math.floor((nowMs + offsetMs) / dayMs) : parseDay(endDate);
  const firstDay = startDate === undefined ? Math.max(0, lastDay - days + 1) : parseDay(startDate);
  if (firstDay > lastDay) throw new ProtocolError("INVALID_PARAMS", `startDate ${toDate(firstDay)} is after endDate ${toDate(lastDay)}`);
  return { firstDay, days: lastDay - firstDay + 1, fromMs: firstDay * dayMs - offsetMs, toMs: (lastDay + 1) * dayMs - offsetMs, offsetMs };
}

function parseDay(date: string): number {
  const timeMs = Date.parse(`${date}T00:00:00Z`);
  if (Number.isNaN(timeMs) || toDate(timeMs / dayMs) !== date) throw new ProtocolError("INVALID_PARAMS", `there is no day ${date}`);
  return timeMs / dayMs;
}

function parseOffset(text = "UTC+0"): number {
  const [, sign = "+", hours = "0", minutes = "0"] = /^(?:UTC)?([+-])(\d{1,2})(?::?(\d\d))?$/.exec(text) ?? [];
  const ms = (Number(hours) * 60 + Number(minutes)) * 60_000;
  return sign === "-" ? -ms : ms;
}

function toDate(day: number): string {
  return new Date(day * dayMs).toISOString().slice(0, 10);
}

function lastOf(sums: readonly UsageSum[]): number {
  return Math.max(...sums.map(({ lastMs }) => lastMs));
}

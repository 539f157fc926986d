/** Usage and cost: what model calls used, by day and by session. */
import { z } from "zod";
import { method } from "./define.ts";
import { agentId, sessionKey, timeMs } from "./shapes.ts";

const date = z.string().regex(/^\d{4}-\d{2}-\d{2}$/, "must be a date, YYYY-MM-DD");

/** Which days, and where a day begins. */
const period = {
  startDate: date.optional(),
  endDate: date.optional(),
  mode: z.enum(["utc", "gateway", "specific"]).optional(),
  /** For mode `specific`, such as `UTC+5:30`. */
  utcOffset: z
    .string()
    .regex(/^(UTC)?[+-]\d{1,2}(:?(00|15|30|45))?$/, "must be an offset such as UTC+5:30")
    .optional(),
  agentId: agentId.optional(),
};

/** Tokens, and US dollars. `missingCostEntries` calls have no known price: they are in the tokens and not in the cost. */
const totals = {
  input: z.number().int(),
  output: z.number().int(),
  cacheRead: z.number().int(),
  cacheWrite: z.number().int(),
  totalTokens: z.number().int(),
  totalCost: z.number(),
  inputCost: z.number(),
  outputCost: z.number(),
  cacheReadCost: z.number(),
  cacheWriteCost: z.number(),
  missingCostEntries: z.number().int(),
};

const modelUse = z.object({ provider: z.string(), model: z.string(), count: z.number().int(), totals: z.object(totals) });

/** Only model calls are counted: each is a message of the assistant, and the rest is 0. */
const messageCounts = z.object({
  total: z.number().int(),
  user: z.literal(0),
  assistant: z.number().int(),
  toolCalls: z.literal(0),
  toolResults: z.literal(0),
  errors: z.literal(0),
});

const dailyUse = { date: z.string(), tokens: z.number().int(), cost: z.number() };

/** Every part is there, because clients read them all; those of what is not counted here are empty. */
const aggregates = z.object({
  sessionCount: z.number().int(),
  messages: messageCounts,
  tools: z.object({ totalCalls: z.literal(0), uniqueTools: z.literal(0), tools: z.array(z.never()) }),
  byModel: z.array(modelUse),
  byProvider: z.array(z.object({ provider: z.string(), count: z.number().int(), totals: z.object(totals) })),
  byAgent: z.array(z.object({ agentId, totals: z.object(totals) })),
  byChannel: z.array(z.never()),
  byCreator: z.array(z.never()),
  costDaily: z.array(z.object({ date: z.string(), ...totals })),
  dailyLatency: z.array(z.never()),
  modelDaily: z.array(z.object({ ...dailyUse, provider: z.string(), model: z.string(), count: z.number().int() })),
  daily: z.array(z.object({ ...dailyUse, messages: z.number().int(), toolCalls: z.literal(0), errors: z.literal(0) })),
});

const sessionUse = z.object({
  key: z.string(),
  label: z.string().optional(),
  sessionId: z.string(),
  updatedAt: timeMs,
  agentId: z.string(),
  usage: z.object({
    sessionId: z.string(),
    firstActivity: timeMs,
    lastActivity: timeMs,
    durationMs: z.number().int(),
    activityDates: z.array(z.string()),
    dailyBreakdown: z.array(z.object(dailyUse)),
    dailyMessageCounts: z.array(messageCounts.extend({ date: z.string() })),
    messageCounts,
    modelUsage: z.array(modelUse),
    ...totals,
  }),
});

export const usageMethods = {
  "usage.cost": method({
    summary: "Tokens and cost of every model call, by day; the last 30 days unless said otherwise.",
    scope: "operator.read",
    kind: "query",
    callers: ["operator"],
    params: () => z.strictObject({ ...period, days: z.number().int().min(1).max(3_660).optional() }),
    result: () =>
      z.object({
        updatedAt: timeMs,
        days: z.number().int(),
        daily: z.array(z.object({ date: z.string(), ...totals })),
        totals: z.object(totals),
      }),
  }),
  "sessions.usage": method({
    summary: "Tokens and cost by session, deleted ones too, the last used first.",
    scope: "operator.read",
    kind: "query",
    callers: ["operator"],
    params: () =>
      z.strictObject({
        ...period,
        key: sessionKey.optional(),
        range: z.enum(["7d", "30d", "90d", "1y", "all"]).optional(),
        limit: z.number().int().min(1).optional(),
      }),
    ignored: ["includeContextWeight", "includeHistorical", "agentScope", "groupBy", "timeZone"],
    unsupported: ["creatorKey"],
    result: () =>
      z.object({
        updatedAt: timeMs,
        startDate: z.string(),
        endDate: z.string(),
        sessions: z.array(sessionUse),
        totals: z.object(totals),
        aggregates,
      }),
  }),
  "usage.status": method({
    summary: "Quotas as providers report them. This gateway asks none of them, so the list is empty.",
    scope: "operator.read",
    kind: "query",
    callers: ["operator"],
    params: () => z.strictObject({}),
    result: () => z.object({ updatedAt: timeMs, providers: z.array(z.object({ provider: z.string() })) }),
  }),
};

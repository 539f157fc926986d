/** Cron: jobs that start a run at their time, and `wake`, which starts one now. */
import { z } from "zod";
import { event, method } from "./define.ts";
import { agentId, longestRunSeconds, nonEmpty, sessionKey, timeMs } from "./shapes.ts";

/** The last moment that a date can name. */
const latestMs = 8_640_000_000_000_000;
const moment = z.number().int().min(0).max(latestMs);
const words = z.string().max(4_096);
const names = z.array(z.string().max(200)).max(200);

export const cronSchedule = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("at"), at: nonEmpty.max(64) }),
  z.strictObject({ kind: z.literal("every"), everyMs: z.number().int().min(1).max(latestMs), anchorMs: moment.optional() }),
  z.strictObject({
    kind: z.literal("cron"),
    expr: nonEmpty.max(512),
    /** IANA name; absent: the gateway's own. */
    tz: z.string().max(64).optional(),
    /** Within so long after each time the job has a moment of its own, which stays; a day at most. */
    staggerMs: moment.optional(),
  }),
]);

const toolsAllow = { toolsAllow: names.optional(), toolsAllowIsDefault: z.boolean().optional() };

export const cronPayload = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("systemEvent"), text: nonEmpty.max(200_000), ...toolsAllow }),
  z.strictObject({
    kind: z.literal("agentTurn"),
    message: nonEmpty.max(200_000),
    model: z.string().max(200).optional(),
    thinking: z.string().max(32).optional(),
    timeoutSeconds: z.number().min(0).max(longestRunSeconds).optional(),
    allowUnsafeExternalContent: z.boolean().optional(),
    lightContext: z.boolean().optional(),
    ...toolsAllow,
  }),
]);

export const cronDelivery = z.strictObject({
  mode: z.enum(["none", "announce"]),
  channel: z.literal("last").optional(),
  bestEffort: z.boolean().optional(),
});

/** What a job is, as it is stored. */
export const cronJobSpec = z.strictObject({
  name: nonEmpty.max(200),
  displayName: nonEmpty.max(200).optional(),
  description: words.optional(),
  agentId: agentId.optional(),
  sessionKey: sessionKey.optional(),
  deleteAfterRun: z.boolean().optional(),
  schedule: cronSchedule,
  sessionTarget: z.string().regex(/^(main|isolated|current|session:.+)$/, "must be main, isolated, current or session:<key>"),
  wakeMode: z.enum(["next-heartbeat", "now"]),
  payload: cronPayload,
  delivery: cronDelivery.optional(),
});

/** Kinds of the reference's that this gateway does not have: known, so that they are refused by name. */
const otherSchedule = z.looseObject({ kind: z.enum(["on-exit", "stream"]) });
const otherPayload = z.looseObject({ kind: z.enum(["command", "script"]) });
const anyDelivery = z.looseObject({ mode: z.enum(["none", "announce", "webhook"]).optional() });
const anyText = z.looseObject({ kind: z.enum(["systemEvent", "agentTurn"]) });

/** As it comes in: parts that the gateway does not have are refused by name, not as a wrong shape. */
const added = {
  ...cronJobSpec.shape,
  agentId: agentId.nullable().optional(),
  sessionKey: sessionKey.nullable().optional(),
  enabled: z.boolean().optional(),
  schedule: z.union([cronSchedule, otherSchedule]),
  payload: z.union([anyText, otherPayload]),
  delivery: anyDelivery.optional(),
};

const patched = z
  .strictObject({
    ...added,
    displayName: nonEmpty.max(200).nullable(),
    pacing: z.unknown(),
    trigger: z.unknown(),
    failureAlert: z.unknown(),
    state: z.unknown(),
  })
  .partial();

const status = z.enum(["ok", "error", "skipped"]);
const deliveryStatus = z.enum(["delivered", "not-delivered", "unknown", "not-requested"]);

export const cronJob = z.object({
  id: z.string(),
  name: z.string(),
  displayName: z.string().optional(),
  description: z.string().optional(),
  agentId: z.string().optional(),
  sessionKey: z.string().optional(),
  enabled: z.boolean(),
  deleteAfterRun: z.boolean().optional(),
  createdAtMs: timeMs,
  updatedAtMs: timeMs,
  configRevision: z.string(),
  schedule: cronSchedule,
  sessionTarget: z.string(),
  wakeMode: z.enum(["next-heartbeat", "now"]),
  payload: cronPayload,
  delivery: cronDelivery.optional(),
  state: z.object({
    nextRunAtMs: timeMs.optional(),
    runningAtMs: timeMs.optional(),
    lastRunAtMs: timeMs.optional(),
    lastRunStatus: status.optional(),
    lastStatus: status.optional(),
    /** Of its last run, or why it does not run any more. */
    lastError: z.string().optional(),
    lastDurationMs: z.number().int().optional(),
    lastDeliveryStatus: deliveryStatus.optional(),
  }),
  nextRunAtMs: timeMs.optional(),
  lastRunAtMs: timeMs.optional(),
  lastRunStatus: status.optional(),
});

const listedJob = cronJob.extend({
  effectiveAgentId: z.string(),
  /** The principal with whose authority it runs: whoever last changed it. */
  actsFor: z.string(),
});

const deliveryPreview = z.object({ label: z.string(), detail: z.string() });

const runEntry = z.object({
  ts: timeMs,
  jobId: z.string(),
  jobName: z.string(),
  action: z.literal("finished"),
  status,
  completionStatus: z.enum(["succeeded", "failed", "unknown"]).optional(),
  error: z.string().optional(),
  summary: z.string().optional(),
  deliveryStatus,
  runId: z.string().optional(),
  sessionId: z.string().optional(),
  sessionKey: z.string().optional(),
  runAtMs: timeMs,
  durationMs: z.number().int().optional(),
  model: z.string().optional(),
  provider: z.string().optional(),
  usage: z.object({ input_tokens: z.number(), output_tokens: z.number(), total_tokens: z.number() }).optional(),
});

/** `id` and `jobId` are the same; one of them is needed. */
const ofJob = { id: nonEmpty.max(200).optional(), jobId: nonEmpty.max(200).optional() };
const needsId = (params: { id?: string | undefined; jobId?: string | undefined }): boolean =>
  params.id !== undefined || params.jobId !== undefined;
const idMissing = "must have required property 'id'";

const page = { limit: z.number().int().min(1).max(200).optional(), offset: z.number().int().min(0).optional() };
const paged = {
  total: z.number().int(),
  offset: z.number().int(),
  limit: z.number().int(),
  hasMore: z.boolean(),
  nextOffset: z.number().int().nullable(),
};

export const cronMethods = {
  "cron.status": method({
    summary: "Whether jobs run, how many there are, and when the next is due.",
    scope: "operator.read",
    kind: "query",
    callers: ["operator"],
    params: () => z.strictObject({}),
    result: () =>
      z.object({
        enabled: z.boolean(),
        triggersEnabled: z.literal(false),
        storePath: z.string(),
        storage: z.literal("sqlite"),
        sqlitePath: z.string(),
        jobs: z.number().int(),
        nextWakeAtMs: timeMs.nullable(),
      }),
  }),
  "cron.list": method({
    summary: "List jobs; only enabled ones unless asked for others.",
    scope: "operator.read",
    kind: "query",
    callers: ["operator"],
    params: () =>
      z.strictObject({
        ...page,
        includeDisabled: z.boolean().optional(),
        enabled: z.enum(["all", "enabled", "disabled"]).optional(),
        query: z.string().max(200).optional(),
        agentId: nonEmpty.optional(),
        sessionKey: nonEmpty.optional(),
        sessionAgentId: nonEmpty.optional(),
        scheduleKind: z.enum(["all", "at", "every", "cron", "on-exit", "stream"]).optional(),
        lastRunStatus: z.enum(["all", "ok", "error", "skipped", "unknown"]).optional(),
        trigger: z.enum(["all", "conditional", "unconditional"]).optional(),
        sortBy: z.enum(["nextRunAtMs", "updatedAtMs", "name"]).optional(),
        sortDir: z.enum(["asc", "desc"]).optional(),
      }),
    ignored: ["compact", "includeDeliveryPreviews"],
    result: () =>
      z.object({
        jobs: z.array(listedJob),
        snapshotRevision: z.string(),
        ...paged,
        deliveryPreviews: z.record(z.string(), deliveryPreview),
      }),
  }),
  "cron.get": method({
    summary: "One job.",
    scope: "operator.read",
    kind: "query",
    callers: ["operator"],
    params: () => z.strictObject(ofJob).refine(needsId, idMissing),
    result: () => cronJob,
  }),
  "cron.add": method({
    summary:
      "Add a job. It runs with at most what whoever adds it holds, and never with more than `operator.write`. With `staggerMs` it comes at a moment of its own within so long after each time of the expression, a day at most. `wakeMode` and `lightContext` are kept and change nothing: there is no heartbeat to wait for, and each run gets the whole context.",
    scope: "operator.admin",
    kind: "command",
    rate: "control-write",
    callers: ["operator"],
    params: () => z.strictObject(added),
    unsupported: ["owner", "declarationKey", "pacing", "trigger", "failureAlert"],
    result: () => cronJob.extend({ deliveryPreview }),
  }),
  "cron.update": method({
    summary: "Change a job. From then on it runs with the authority of whoever changed it.",
    scope: "operator.admin",
    kind: "command",
    rate: "control-write",
    callers: ["operator"],
    params: () =>
      z.strictObject({ ...ofJob, patch: patched, expectedConfigRevision: nonEmpty.max(128).optional() }).refine(needsId, idMissing),
    result: () => cronJob,
  }),
  "cron.remove": method({
    summary: "Remove a job. What it has started goes on.",
    scope: "operator.admin",
    kind: "command",
    rate: "control-write",
    callers: ["operator"],
    params: () => z.strictObject(ofJob).refine(needsId, idMissing),
    result: () => z.object({ ok: z.literal(true), removed: z.boolean() }),
  }),
  "cron.run": method({
    summary: "Run a job now, beside its schedule: always, only when it is due, or only when it is enabled.",
    scope: "operator.admin",
    kind: "command",
    rate: "control-write",
    callers: ["operator"],
    params: () =>
      z
        .strictObject({ ...ofJob, mode: z.enum(["due", "force", "if-enabled"]).optional(), expectedProcessInstanceId: nonEmpty.optional() })
        .refine(needsId, idMissing),
    result: () =>
      z.object({
        ok: z.literal(true),
        enqueued: z.literal(true).optional(),
        runId: z.string().optional(),
        ran: z.literal(false).optional(),
        reason: z.enum(["not-due", "already-running", "disabled", "failed"]).optional(),
        error: z.string().optional(),
        processInstanceId: z.string(),
      }),
  }),
  "cron.runs": method({
    summary: "What came of jobs: finished runs, times that were skipped, and times at which no run could start.",
    scope: "operator.read",
    kind: "query",
    callers: ["operator"],
    params: () =>
      z.strictObject({
        ...ofJob,
        ...page,
        scope: z.enum(["job", "all"]).optional(),
        agentId: nonEmpty.optional(),
        runId: nonEmpty.optional(),
        statuses: z.array(status).optional(),
        status: z.enum(["all", "ok", "error", "skipped"]).optional(),
        deliveryStatuses: z.array(deliveryStatus).optional(),
        deliveryStatus: deliveryStatus.optional(),
        query: z.string().max(200).optional(),
        sortDir: z.enum(["asc", "desc"]).optional(),
      }),
    result: () => z.object({ entries: z.array(runEntry), ...paged }),
  }),
  wake: method({
    summary:
      "Say something to an agent's main session, or another: `now` starts a turn of its own, `next-heartbeat` is read by the next one.",
    scope: "operator.write",
    kind: "command",
    callers: ["operator"],
    params: () =>
      z.strictObject({
        mode: z.enum(["now", "next-heartbeat"]),
        text: nonEmpty.max(200_000),
        sessionKey: sessionKey.optional(),
        agentId: agentId.optional(),
      }),
    result: () => z.object({ ok: z.literal(true) }),
  }),
};

export const cronEvents = {
  cron: event({
    summary: "A job was added, changed or removed, or a run of it began or ended.",
    scope: "operator.read",
    droppable: true,
    payload: () =>
      z.object({
        jobId: z.string(),
        action: z.enum(["added", "updated", "removed", "started", "finished"]),
        job: cronJob.optional(),
        nextRunAtMs: timeMs.optional(),
        runAtMs: timeMs.optional(),
        status: status.optional(),
        completionStatus: z.enum(["succeeded", "failed", "unknown"]).optional(),
        summary: z.string().optional(),
        error: z.string().optional(),
        deliveryStatus: deliveryStatus.optional(),
        durationMs: z.number().int().optional(),
        sessionKey: z.string().optional(),
        sessionId: z.string().optional(),
        runId: z.string().optional(),
      }),
  }),
};

export type CronSchedule = z.infer<typeof cronSchedule>;
export type CronJobSpec = z.infer<typeof cronJobSpec>;
export type CronJob = z.infer<typeof cronJob>;
export type CronRunEntry = z.infer<typeof runEntry>;

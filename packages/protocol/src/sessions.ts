/** Sessions: durable conversations. Every session of an agent's sub-agents is one too. */
import { z } from "zod";
import { method } from "./define.ts";
import { agentId, idempotencyKey, label, modelId, nonEmpty, runMs, runStatus, sessionKey, sessionRow, timeMs, usage } from "./shapes.ts";

const listParams = z.strictObject({
  /** The gateway answers at most 1,000 and says so in `limitApplied`: clients ask for as many as there could be. */
  limit: z.number().int().min(1).optional(),
  offset: z.number().int().nonnegative().optional(),
  activeMinutes: z.number().int().min(1).optional(),
  label: label.optional(),
  spawnedBy: nonEmpty.optional(),
  agentId: agentId.optional(),
  search: z.string().max(200).optional(),
  excludeSubagents: z.boolean().optional(),
  excludeCron: z.boolean().optional(),
  includeDerivedTitles: z.boolean().optional(),
  includeLastMessage: z.boolean().optional(),
  archived: z.union([z.boolean(), z.literal("all")]).optional(),
});

// What only decorates a row or its order is dropped; a filter we do not have would silently show too much.
const listIgnored = [
  "includeGlobal",
  "includeUnknown",
  "includeActivitySummary",
  "includePeople",
  "sortBy",
  "ownerFirst",
  "configuredAgentsOnly",
  "excludeSystem",
];
const listUnsupported = [
  "activeOnly",
  "requireLastInteraction",
  "projectId",
  "workspaceDir",
  "group",
  "pinned",
  "boardFace",
  "hasBoard",
  "creatorId",
  "ownerId",
  "involvingMe",
  "profileRelation",
  "involvingProfileId",
];

const listResult = z.object({
  ts: timeMs,
  path: z.string(),
  count: z.number().int(),
  totalCount: z.number().int(),
  limitApplied: z.number().int(),
  nextOffset: z.number().int().nullable(),
  hasMore: z.boolean(),
  defaults: z.object({ modelProvider: z.string(), model: z.string() }),
  sessions: z.array(sessionRow),
});

const patchParams = z.strictObject({
  key: sessionKey,
  agentId: agentId.optional(),
  label: label.nullable().optional(),
  model: modelId.nullable().optional(),
  archived: z.boolean().optional(),
  spawnedBy: sessionKey.nullable().optional(),
  spawnDepth: z.number().int().nonnegative().nullable().optional(),
  subagentRole: z.enum(["orchestrator", "leaf"]).nullable().optional(),
  subagentControlScope: z.enum(["children", "none"]).nullable().optional(),
  /** Refused when the session's id is another by now, or there is none. */
  expectedSessionId: nonEmpty.optional(),
});

/** What `sessions.send` and `sessions.steer` share. */
const sendParams = {
  key: sessionKey,
  agentId: agentId.optional(),
  /** The run's deadline; 0 is none. */
  timeoutMs: runMs.optional(),
  idempotencyKey: idempotencyKey.optional(),
};
const sendIgnored = ["mentions"];
const sendUnsupported = ["thinking", "attachments"];
const sendStatus = z.enum(["started", "in_flight", "ok", "error", "timeout"]);

/** Where the message stands in the history, or would if it were read next: what waits before it comes first. */
const messageSeq = z.number().int();

type PatchParams = z.infer<typeof patchParams>;

/** Fields that say who spawned a session: whoever sets them decides who may steer it, so they need admin. */
const lineageFields = ["spawnedBy", "spawnDepth", "subagentRole", "subagentControlScope"] as const satisfies readonly (keyof PatchParams)[];

export const sessionMethods = {
  "sessions.list": method({
    summary: "List sessions, newest first.",
    scope: "operator.read",
    kind: "query",
    params: () => listParams,
    ignored: listIgnored,
    unsupported: listUnsupported,
    result: () => listResult,
  }),
  "sessions.status": method({
    summary: "How one session stands: its model, context, tokens, what works in it, what waits, and what it delegated.",
    scope: "operator.read",
    kind: "query",
    /** Without a key: a run's own session, an operator's main one. */
    params: () => z.strictObject({ key: sessionKey.optional(), agentId: agentId.optional() }),
    result: () =>
      z.object({
        session: sessionRow,
        /** Of all its runs together. */
        usage,
        /** What the newest reply had before it and said: the next one has at least as much before it. Absent before the first reply. */
        contextTokens: z.number().int().optional(),
        children: z.object({ total: z.number().int(), open: z.number().int() }),
        /** Runs that have not ended, oldest first. */
        queue: z.array(z.object({ runId: z.string(), wireId: z.string(), status: runStatus, startedBy: z.string(), createdAt: timeMs })),
      }),
  }),
  "sessions.subscribe": method({
    summary: "Hear `sessions.changed` on this connection until it closes.",
    scope: "operator.read",
    kind: "query",
    callers: ["operator"],
    params: () => listParams,
    ignored: listIgnored,
    unsupported: listUnsupported,
    result: () => z.object({ subscribed: z.literal(true), list: listResult.optional() }),
  }),
  "sessions.unsubscribe": method({
    summary: "Stop hearing `sessions.changed` on this connection.",
    scope: "operator.read",
    kind: "query",
    callers: ["operator"],
    params: () => z.strictObject({}),
    result: () => z.object({ subscribed: z.literal(false) }),
  }),
  "sessions.create": method({
    summary: "Make a session, or find the one with this key; with a message, also start a run in it.",
    scope: "operator.write",
    kind: "command",
    callers: ["operator"],
    params: () =>
      z.strictObject({
        /** Left out: a new one, the same for the same idempotency key. */
        key: sessionKey.optional(),
        agentId: agentId.optional(),
        label: label.optional(),
        model: modelId.optional(),
        /** Whose model it gets when it names none; that session stays a stranger to it. */
        parentSessionKey: sessionKey.optional(),
        message: z.string().max(200_000).optional(),
        /** The same by another name; the two exclude each other. */
        task: z.string().max(200_000).optional(),
        /** The run's deadline; 0 is none. */
        timeoutMs: runMs.optional(),
        /** Everyone who is let in sees every session. */
        visibility: z.literal("shared").optional(),
        idempotencyKey: idempotencyKey.optional(),
      }),
    ignored: ["displayName", "titleSource", "category", "emitCommandHooks", "succeedsParent", "mentions"],
    unsupported: [
      "agentRuntime",
      "contextWindow",
      "thinkingLevel",
      "fastMode",
      "permissionMode",
      "toolOverrides",
      "incognito",
      "catalogId",
      "spawnDepth",
      "fork",
      "forkFrom",
      "attachments",
      "projectId",
      "projectGitUrl",
      "repository",
      "worktree",
      "worktreeSource",
      "worktreeBaseRef",
      "worktreeName",
      "execNode",
      "cwd",
    ],
    result: () =>
      z.object({
        ok: z.literal(true),
        key: z.string(),
        sessionId: z.string(),
        entry: sessionRow,
        resolved: z.object({ modelProvider: z.string(), model: z.string() }),
        runStarted: z.boolean(),
        runId: z.string().optional(),
        status: sendStatus.optional(),
      }),
  }),
  "sessions.patch": method({
    summary: "Change a session's label, model or archived state; creates the session when it is missing.",
    scope: {
      byParams: (params: PatchParams) => (lineageFields.some((field) => params[field] !== undefined) ? "operator.admin" : "operator.write"),
      malformed: "operator.admin",
      oneOf: ["operator.write", "operator.admin"],
    },
    kind: "command",
    callers: ["operator"],
    params: () => patchParams,
    ignored: [
      "autoLabel",
      "icon",
      "color",
      "category",
      "boardFace",
      "boardPresentation",
      "statusNote",
      "attention",
      "pinned",
      "unread",
      "verboseLevel",
      "traceLevel",
      "reasoningLevel",
      "responseUsage",
    ],
    // An expectation of something that no session here has is met by `null` alone.
    unsupported: [
      "expectedLifecycleRevision",
      "expectedPermissionMode",
      "expectedSandboxMode",
      "expectedNativeRuntimeConsent",
      "expectedToolOverrides",
      "expectedMarkedUnreadAt",
      "ttlMinutes",
      "contextWindow",
      "thinkingLevel",
      "fastMode",
      "toolOverrides",
      "elevatedLevel",
      "execHost",
      "execSecurity",
      "execAsk",
      "execNode",
      "permissionMode",
      "sandboxMode",
      "nativeRuntimeConsent",
      "agentRuntime",
      "spawnedWorkspaceDir",
      "sendPolicy",
      "groupActivation",
      "completionOwnerSessionKey",
      "inheritedToolPolicyVersion",
      "inheritedToolAllow",
      "inheritedToolDeny",
    ],
    result: () => z.object({ ok: z.literal(true), path: z.string(), key: z.string(), entry: sessionRow }),
  }),
  "sessions.send": method({
    summary: "Send a message to a session that exists; it gets a turn of its own, after what works there, or waits for the next one.",
    scope: "operator.write",
    kind: "command",
    params: () =>
      z.strictObject({
        ...sendParams,
        message: nonEmpty.max(200_000),
        /** `resume`: only when nothing works or waits in the session. `notify`: starts no turn; the next one there reads it first. */
        mode: z.enum(["followup", "resume", "notify"]).optional(),
        /** How long to wait for the reply; 0, the default, is not at all. To `notify` there is none. */
        waitSeconds: z.number().int().min(0).max(60).optional(),
      }),
    ignored: sendIgnored,
    unsupported: sendUnsupported,
    result: () =>
      z.object({
        runId: z.string(),
        status: sendStatus,
        messageSeq,
        /** With `waitSeconds`: what came of it so far. That it was admitted does not say that it was answered. */
        delivery: z.enum(["pending", "replied", "no_reply", "failed"]).optional(),
        reply: z.string().optional(),
        replyCut: z.literal(true).optional(),
      }),
  }),
  "sessions.steer": method({
    summary: "Send a message into the turn that works in a session, between two of its steps; if none works, it is an ordinary one.",
    scope: "operator.write",
    kind: "command",
    callers: ["operator"],
    params: () => z.strictObject({ ...sendParams, message: nonEmpty.max(200_000) }),
    ignored: sendIgnored,
    unsupported: sendUnsupported,
    result: () => z.object({ runId: z.string(), status: sendStatus, messageSeq }),
  }),
  "sessions.abort": method({
    summary: "Stop what works and waits in a session, or one run, with everything it delegated.",
    scope: "operator.write",
    kind: "command",
    callers: ["operator"],
    params: () =>
      z.strictObject({
        key: sessionKey.optional(),
        agentId: agentId.optional(),
        runId: nonEmpty.optional(),
        /** `false`: what has not begun stays. */
        clearQueued: z.boolean().optional(),
      }),
    result: () =>
      z.object({
        ok: z.literal(true),
        abortedRunId: z.string().nullable(),
        status: z.enum(["aborted", "no-active-run"]),
        runIds: z.array(z.string()),
      }),
  }),
  "sessions.compact": method({
    summary: "Let a summary stand for the older part of a session where its model reads it; the history stays as it is.",
    scope: "operator.admin",
    kind: "command",
    callers: ["operator"],
    params: () =>
      z.strictObject({
        key: sessionKey,
        agentId: agentId.optional(),
        /** How many of the newest messages stay as they are; else from the last thing a user said. */
        maxLines: z.number().int().min(1).optional(),
      }),
    result: () =>
      z.object({
        ok: z.literal(true),
        key: z.string(),
        compacted: z.boolean(),
        /** Messages that the model reads as they are. */
        kept: z.number().int(),
        /** Why nothing was compacted. */
        reason: z.string().optional(),
      }),
  }),
  "sessions.reset": method({
    summary: "Empty a session: its work is cancelled, its transcript is gone, what it is called and its model stay.",
    scope: "operator.admin",
    kind: "command",
    callers: ["operator"],
    params: () =>
      z.strictObject({
        key: sessionKey,
        agentId: agentId.optional(),
        /** Refused when the session's id is another by now. */
        expectedSessionId: nonEmpty.optional(),
      }),
    ignored: ["reason"],
    result: () => z.object({ ok: z.literal(true), key: z.string(), entry: sessionRow }),
  }),
  "sessions.delete": method({
    summary: "Delete a session and its transcript; its running work is cancelled first.",
    scope: "operator.admin",
    kind: "command",
    callers: ["operator"],
    params: () =>
      z.strictObject({
        key: sessionKey,
        agentId: agentId.optional(),
        deleteTranscript: z.boolean().optional(),
        /** Refused unless the session is archived. */
        archivedOnly: z.boolean().optional(),
        /** Refused when the session's id, or the time of its last change, is another by now. */
        expectedSessionId: nonEmpty.optional(),
        expectedSessionUpdatedAt: z.number().optional(),
      }),
    ignored: ["emitLifecycleHooks"],
    unsupported: ["expectedLifecycleRevision"],
    result: () => z.object({ ok: z.literal(true), key: z.string(), deleted: z.boolean(), archived: z.array(z.string()) }),
  }),
};

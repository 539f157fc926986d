/** Exec approvals: a question whether one exact program may run, parked on a person who did not ask it. */
import { z } from "zod";
import { event, method } from "./define.ts";
import { nonEmpty, timeMs } from "./shapes.ts";

export const approvalDecisions = ["allow-once", "allow-always", "deny"] as const;
export type ApprovalDecision = (typeof approvalDecisions)[number];

/** A file that the program reads and that could change: whoever runs it holds it to this digest. */
const fileOperand = z.strictObject({ argvIndex: z.number().int().nonnegative(), path: z.string(), sha256: z.string() });

const systemRunPlan = z.strictObject({
  argv: z.array(z.string()),
  cwd: z.string().nullable(),
  /** Read by nobody: what is shown is made from `argv`. */
  commandText: z.string(),
  commandPreview: z.string().nullish(),
  agentId: z.string().nullable(),
  sessionKey: z.string().nullable(),
  policySnapshot: z.unknown().optional(),
  mutableFileOperand: fileOperand.nullish(),
});

/** What an approver is shown: nothing is cut, and no character hides, reorders or ends a line. `null` where nothing was said. */
const shownRequest = z.object({
  command: z.string(),
  commandArgv: z.array(z.string()).nullable(),
  env: z.record(z.string(), z.string()).nullable(),
  cwd: z.string().nullable(),
  nodeId: z.string().nullable(),
  host: z.string().nullable(),
  security: z.string().nullable(),
  ask: z.string().nullable(),
  warningText: z.string().nullable(),
  scope: z.unknown(),
  allowedDecisions: z.array(z.enum(approvalDecisions)),
  agentId: z.string().nullable(),
  resolvedPath: z.string().nullable(),
  sessionKey: z.string().nullable(),
  sessionId: z.string().nullable(),
  runId: z.string().nullable(),
  toolCallId: z.string().nullable(),
  /** The digest of a file that the program reads. */
  file: fileOperand.nullable(),
  /** What whoever asked keeps: the effect itself is bound, and not handed round. */
  systemRunBinding: z.null(),
  systemRunPlan: z.null(),
  /** Where a chat asked; no chat asks here. */
  turnSourceChannel: z.null(),
  turnSourceTo: z.null(),
  turnSourceAccountId: z.null(),
  turnSourceThreadId: z.null(),
});

const pendingApproval = z.object({
  id: z.string(),
  approvalKind: z.literal("exec"),
  /** The principal that asked. */
  requestedBy: z.string(),
  request: shownRequest,
  createdAtMs: timeMs,
  expiresAtMs: timeMs,
});

const approvalTimes = { id: z.string(), createdAtMs: timeMs, expiresAtMs: timeMs };
const terminalReasons = ["resolved", "expired", "cancelled", "no-route"] as const;

/** `null`: nobody decided. */
const decided = z.object({
  ...approvalTimes,
  decision: z.enum(approvalDecisions).nullable(),
  terminalReason: z.enum(terminalReasons),
});

const idParams = z.strictObject({ id: nonEmpty });
const approvals = { scope: "operator.approvals", callers: ["operator"] } as const;
const nullable = z.string().nullish();

export const approvalMethods = {
  "exec.approval.request": method({
    summary: "Ask that one exact program may run, and wait for the decision; with `twoPhase` the id comes first.",
    ...approvals,
    kind: "command",
    params: () =>
      z.strictObject({
        id: nonEmpty.max(256).optional(),
        command: nonEmpty.optional(),
        commandArgv: z.array(z.string()).optional(),
        systemRunPlan: systemRunPlan.optional(),
        env: z.record(z.string(), z.string()).optional(),
        cwd: nullable,
        nodeId: nonEmpty.nullish(),
        host: nullable,
        security: nullable,
        ask: nullable,
        warningText: nullable,
        scope: z.record(z.string(), z.unknown()).nullish(),
        unavailableDecisions: z.array(z.literal("allow-always")).optional(),
        agentId: nullable,
        resolvedPath: nullable,
        sessionKey: nullable,
        sessionId: nullable,
        runId: nullable,
        toolCallId: nullable,
        /** Devices that may see and decide it beside those with `operator.admin`. */
        approvalReviewerDeviceIds: z.array(nonEmpty).max(32).optional(),
        /** Ends it at once when nobody is connected who may decide. */
        requireDeliveryRoute: z.boolean().optional(),
        /** Half an hour when nothing is said, at most a day. */
        timeoutMs: z.number().int().min(1).optional(),
        twoPhase: z.boolean().optional(),
      }),
    ignored: [
      "commandSpans",
      "suppressDelivery",
      "deliverToApprovalClientsOnly",
      "turnSourceChannel",
      "turnSourceTo",
      "turnSourceAccountId",
      "turnSourceThreadId",
    ],
    accepted: () => z.object({ status: z.literal("accepted"), ...approvalTimes, deliveryRoute: z.enum(["approval-client", "none"]) }),
    result: () => decided,
  }),
  "exec.approval.waitDecision": method({
    summary: "Wait until a request is decided or has expired; only for whoever asked or may see it.",
    ...approvals,
    kind: "query",
    params: () => idParams,
    result: () => decided,
  }),
  "exec.approval.resolve": method({
    summary: "Decide a request of somebody else, once and for all.",
    ...approvals,
    kind: "command",
    params: () =>
      z.strictObject({
        id: nonEmpty.max(256),
        decision: nonEmpty,
        /** The id may be the beginning of one, in any case, if no other request that the caller may see begins so, ended ones included. */
        matchPrefix: z.boolean().optional(),
      }),
    unsupported: ["grantExpiresInDays"],
    // Who decides is who is connected.
    refused: ["reviewer"],
    result: () => z.object({ ok: z.literal(true) }),
  }),
  "exec.approval.get": method({
    summary: "One request that waits or was decided, in full.",
    ...approvals,
    kind: "query",
    versions: [4],
    params: () => idParams,
    result: () =>
      pendingApproval.extend({
        commandText: z.string(),
        commandPreview: z.null(),
        allowedDecisions: z.array(z.enum(approvalDecisions)),
        host: z.string().nullable(),
        nodeId: z.string().nullable(),
        agentId: z.string().nullable(),
        status: z.enum(["pending", "decided", "expired", "cancelled"]),
        decision: z.enum(approvalDecisions).nullable(),
        resolvedBy: z.string().nullable(),
        resolvedAtMs: timeMs.nullable(),
      }),
  }),
  "exec.approval.list": method({
    summary: "Requests that wait and that the caller may see, the oldest first.",
    ...approvals,
    kind: "query",
    versions: [4],
    params: () => z.strictObject({}),
    result: () => z.array(pendingApproval),
  }),
  "exec.approvals.get": method({
    summary: "The policy by which the gateway itself runs programs: it runs none without an approval, and keeps no list.",
    scope: "operator.admin",
    callers: ["operator"],
    kind: "query",
    params: () => z.strictObject({}),
    result: () =>
      z.object({
        path: z.string(),
        exists: z.literal(false),
        hash: z.string(),
        file: z.object({ version: z.literal(1), defaults: z.object({}), agents: z.object({}) }),
        resolvedDefaults: z.object({
          security: z.literal("deny"),
          ask: z.literal("always"),
          askFallback: z.literal("deny"),
          autoAllowSkills: z.literal(false),
        }),
      }),
  }),
};

export const approvalEvents = {
  "exec.approval.requested": event({
    summary: "Somebody asks that a program may run; told to those who may decide it and to whoever asked.",
    scope: "operator.approvals",
    droppable: false,
    payload: () => pendingApproval,
  }),
  "exec.approval.resolved": event({
    summary: "A request was decided, or ended without a decision (`null`).",
    scope: "operator.approvals",
    droppable: false,
    payload: () =>
      z.object({
        id: z.string(),
        decision: z.enum(approvalDecisions).nullable(),
        resolvedBy: z.string().nullable(),
        ts: timeMs,
        request: shownRequest,
      }),
  }),
};

/** What `system.run` takes on a node. Whether it is approved is what `runId` names, and nothing else that a caller says. */
export const systemRunParams = z.strictObject({
  command: z.array(z.string()).min(1),
  rawCommand: nullable,
  systemRunPlan: systemRunPlan.optional(),
  cwd: z.string().optional(),
  env: z.record(z.string(), z.string()).optional(),
  timeoutMs: z.number().int().nonnegative().optional(),
  needsScreenRecording: z.boolean().optional(),
  suppressNotifyOnExit: z.boolean().optional(),
  agentId: z.string().optional(),
  sessionKey: z.string().optional(),
  runId: nonEmpty.optional(),
  approved: z.boolean().optional(),
  approvalDecision: z.string().optional(),
});

export type PendingApproval = z.infer<typeof pendingApproval>;
export type ShownRequest = z.infer<typeof shownRequest>;

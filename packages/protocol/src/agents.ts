/** Agents and their runs: start one, wait for one, watch one. */
import { z } from "zod";
import { silences } from "./silence.ts";
import { event, method } from "./define.ts";
import { agentId, idempotencyKey, label, nonEmpty, runEnvelope, runSeconds, sessionKey, timeMs, usage } from "./shapes.ts";

const agentParams = z.strictObject({
  message: nonEmpty.max(1_000_000),
  agentId: agentId.optional(),
  sessionKey: sessionKey.optional(),
  sessionId: nonEmpty.optional(),
  /** Seconds; 0 is no deadline, absent is the configured default. */
  timeout: runSeconds.optional(),
  idempotencyKey,
  label: label.optional(),
});

type AgentParams = z.infer<typeof agentParams>;

export const agentsList = z.object({
  defaultId: z.string(),
  mainKey: z.string(),
  scope: z.string(),
  agents: z.array(z.object({ id: z.string(), workspace: z.string().optional(), model: z.object({ primary: z.string() }) })),
});

export const agentMethods = {
  "agents.list": method({
    summary: "The configured agents and the model each would use.",
    scope: "operator.read",
    kind: "query",
    params: () => z.strictObject({}),
    result: () => agentsList,
  }),
  agent: method({
    summary: "Run an agent turn. Two answers under one id: `accepted` once the run is durable, then its outcome.",
    scope: {
      byParams: (params: AgentParams) => (/^\/(new|reset)(\s|$)/.test(params.message) ? "operator.admin" : "operator.write"),
      malformed: "operator.write",
      oneOf: ["operator.write", "operator.admin"],
    },
    kind: "command",
    callers: ["operator"],
    params: () => agentParams,
    ignored: ["expectedExistingSessionId", "cleanupBundleMcpOnRunEnd", "voiceWakeTrigger"],
    unsupported: [
      "provider",
      "model",
      "to",
      "replyTo",
      "thinking",
      "deliver",
      "attachments",
      "channel",
      "replyChannel",
      "accountId",
      "replyAccountId",
      "threadId",
      "groupId",
      "groupChannel",
      "groupSpace",
      "bestEffortDeliver",
      "cwd",
      "modelRun",
      "promptMode",
      "bootstrapContextMode",
      "bootstrapContextRunKind",
      "acpTurnSource",
      "execApprovalFollowupExpectedSessionId",
      "suppressPromptPersistence",
      "sessionEffects",
      "sourceReplyDeliveryMode",
      "disableMessageTool",
      "swarmCollector",
      "swarmOutputSchema",
      "forceRestartSafeTools",
      "forceCodeModeTools",
    ],
    accepted: () =>
      z.object({
        runId: z.string(),
        sessionKey: z.string(),
        agentId: z.string(),
        status: z.literal("accepted"),
        acceptedAt: timeMs,
      }),
    result: () =>
      z.object({
        runId: z.string(),
        status: z.enum(["ok", "error", "timeout"]),
        summary: z.string(),
        result: z.object({
          payloads: z.array(z.object({ text: z.string(), mediaUrl: z.null() })),
          meta: z.object({
            durationMs: z.number().int(),
            agentMeta: z.object({ sessionId: z.string(), provider: z.string(), model: z.string(), usage, costUsd: z.number().optional() }),
            aborted: z.boolean(),
            stopReason: z.string().optional(),
          }),
        }),
      }),
  }),
  "agent.wait": method({
    summary: "Wait for a run to come and to end; `timeout` means that it has not, not that it failed.",
    scope: "operator.write",
    kind: "query",
    params: () =>
      z.strictObject({
        runId: nonEmpty,
        /** Half a minute when nothing is said; no wait is longer than ten. */
        timeoutMs: z.number().int().nonnegative().optional(),
      }),
    result: () =>
      z.object({
        runId: z.string(),
        status: z.enum(["ok", "error", "timeout"]),
        startedAt: timeMs.optional(),
        endedAt: timeMs.optional(),
        error: z.string().optional(),
        stopReason: z.string().optional(),
      }),
  }),
};

const delegation = () =>
  z.object({
    ...runEnvelope,
    ts: timeMs,
    stream: z.literal("subagent"),
    data: z.discriminatedUnion("phase", [
      z.object({
        phase: z.literal("spawned"),
        childSessionKey: z.string(),
        childRunId: z.string(),
        label: z.string().optional(),
        scopes: z.array(z.string()),
      }),
      z.object({
        phase: z.literal("announced"),
        childSessionKey: z.string(),
        childRunId: z.string(),
        label: z.string().optional(),
        status: z.string(),
        result: z.string(),
        /** The child said that there is nothing to tell, and nothing else. */
        silence: z.enum(silences).optional(),
      }),
    ]),
  });

export const agentEvents = {
  agent: event({
    summary: "What a run does: its lifecycle, its text, its tool calls, its sub-agents.",
    scope: "operator.read",
    droppable: true,
    payload: () =>
      z.discriminatedUnion("stream", [
        z.object({
          ...runEnvelope,
          ts: timeMs,
          stream: z.literal("lifecycle"),
          data: z.discriminatedUnion("phase", [
            z.object({ phase: z.literal("start"), startedAt: timeMs }),
            z.object({ phase: z.literal("warning"), reason: z.enum(["stall", "deadline"]), limitAt: timeMs }),
            z.object({
              phase: z.literal("end"),
              startedAt: timeMs,
              endedAt: timeMs,
              stopReason: z.string(),
              aborted: z.boolean(),
              status: z.string(),
            }),
            z.object({ phase: z.literal("error"), startedAt: timeMs, endedAt: timeMs, error: z.string() }),
          ]),
        }),
        z.object({ ...runEnvelope, ts: timeMs, stream: z.literal("assistant"), data: z.object({ text: z.string(), delta: z.string() }) }),
        z.object({
          ...runEnvelope,
          ts: timeMs,
          stream: z.literal("tool"),
          data: z.discriminatedUnion("phase", [
            z.object({ phase: z.literal("start"), name: z.string(), toolCallId: z.string(), args: z.unknown() }),
            z.object({ phase: z.literal("result"), name: z.string(), toolCallId: z.string(), isError: z.boolean(), result: z.unknown() }),
          ]),
        }),
        z.object({
          ...runEnvelope,
          ts: timeMs,
          stream: z.literal("compaction"),
          data: z.discriminatedUnion("phase", [
            z.object({ phase: z.literal("start") }),
            z.object({ phase: z.literal("end"), compacted: z.boolean() }),
          ]),
        }),
        delegation(),
      ]),
  }),
};

export type AgentEvent = z.infer<(typeof agentEvents)["agent"]["payload"]>;

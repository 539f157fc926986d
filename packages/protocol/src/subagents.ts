/** Sub-agents: a run delegates work to child runs. Our own methods; the model's tools call nothing else. */
import { z } from "zod";
import { method } from "./define.ts";
import { runRow } from "./runs.ts";
import {
  agentId,
  idempotencyKey,
  label,
  modelId,
  nonEmpty,
  runMs,
  runSeconds,
  runStatus,
  sessionKey,
  taskName,
  thinkingLevels,
  timeMs,
} from "./shapes.ts";

/** Where a result goes is the gateway's to say: a child that chose an address could speak where its parent may not. */
export const deliveryAddresses: readonly string[] = [
  "target",
  "channel",
  "to",
  "threadId",
  "thread_id",
  "replyTo",
  "reply_to",
  "transport",
];

/** How a child's file tools call the folder of its attachments. */
export const attachmentFolder = "@attachments";

const attachment = z.strictObject({
  /** One plain file name. */
  name: nonEmpty,
  /** The object is what a transcript keeps of it: it finds a child that was made before, and makes none. */
  content: z.union([
    z.string(),
    z.strictObject({ redacted: z.literal(true), bytes: z.number().int().nonnegative(), sha256: z.string().regex(/^[0-9a-f]{64}$/) }),
  ]),
  /** Of the content; `utf8` when left out. */
  encoding: z.enum(["utf8", "base64"]).optional(),
  mimeType: z
    .string()
    .regex(/^[a-z0-9][a-z0-9!#$&^_.+-]{0,63}\/[a-z0-9][a-z0-9!#$&^_.+-]{0,63}$/i)
    .optional(),
});

/** What a sub-agent is called: run id, session key, `#N`, task name, label, or what only one of these names begins with. */
const handle = nonEmpty.max(512);
/** Whose sub-agents: a run's are those of its own session, and it must not name another; an operator names one (default: main). */
const ofSession = sessionKey.optional();
const listed = runRow.extend({
  /** `#N` means it, now and later: sub-agents of a session are counted as they were made. */
  number: z.number().int().optional(),
});
/** A sub-agent that is asked about. */
const asked = z.object({
  runId: z.string(),
  childSessionKey: z.string(),
  taskName: z.string().optional(),
  label: z.string().optional(),
  status: runStatus,
  hasEnded: z.boolean(),
});

export const subagentMethods = {
  "subagents.spawn": method({
    summary: "Start a child run in a session of its own; answers when the child is durable, not when it is done.",
    scope: "operator.write",
    kind: "command",
    refused: deliveryAddresses,
    unsupported: ["attachAs", "collect", "cwd", "fastMode", "groupId", "lightContext", "runtime", "visible"],
    params: () =>
      z.strictObject({
        task: nonEmpty.max(200_000),
        label: label.optional(),
        taskName: taskName.optional(),
        agentId: agentId.optional(),
        model: modelId.optional(),
        thinking: z.enum(thinkingLevels).optional(),
        /** 0 is no deadline, absent is the configured default. */
        runTimeoutSeconds: runSeconds.optional(),
        thread: z.boolean().optional(),
        mode: z.enum(["run", "session"]).optional(),
        /** `fork`: begins with a copy of the parent's conversation, up to where it stands; only for the same agent. */
        context: z.enum(["isolated", "fork"]).optional(),
        sandbox: z.enum(["inherit", "require"]).optional(),
        cleanup: z.enum(["keep", "delete"]).optional(),
        /** False: nobody waits for the result, and it is delivered to nobody. */
        expectsCompletionMessage: z.boolean().optional(),
        /** A JSON Schema (a subset) for the child's result; one that does not fit is told so once, then comes as text with the reason. */
        outputSchema: z.record(z.string(), z.unknown()).optional(),
        /** Files for the child to read, and for nobody else. Off unless the operator turned it on. */
        attachments: z.array(attachment).optional(),
        /** Only narrows: each must be a tool that the child would have without this. Empty: none. */
        tools: z.array(nonEmpty.max(128)).max(256).optional(),
        /** What the child, and all below it, may use at most; never more than its parent has left. `turns` are calls of a model. */
        budget: z
          .strictObject({
            tokens: z.number().int().nonnegative().optional(),
            usd: z.number().nonnegative().optional(),
            turns: z.number().int().nonnegative().optional(),
            wallMs: runMs.optional(),
          })
          .optional(),
        /** The session to spawn for. A run spawns for its own and must not name another; an operator names one (default: main). */
        sessionKey: sessionKey.optional(),
        idempotencyKey,
      }),
    result: () =>
      z.object({
        status: z.literal("accepted"),
        childSessionKey: z.string(),
        runId: z.string(),
        mode: z.literal("run"),
        resolvedModel: z.string(),
        resolvedThinking: z.enum(thinkingLevels).optional(),
        /** The one that was used: a conversation beyond the configured size is not copied. */
        context: z.enum(["isolated", "fork"]),
        warnings: z.array(z.string()).optional(),
        scopes: z.array(z.string()),
        /** What the child may use in its first turn; a policy that changes later counts at once. */
        tools: z.array(z.string()),
        depth: z.number().int(),
        taskName: z.string().optional(),
        /** What it may use: what was asked for, or less where the parent has less left. */
        budget: z
          .object({ tokens: z.number().int(), usd: z.number(), turns: z.number().int(), wallMs: z.number().int() })
          .partial()
          .optional(),
        attachments: z
          .object({
            count: z.number().int(),
            totalBytes: z.number().int(),
            files: z.array(z.object({ name: z.string(), bytes: z.number().int(), sha256: z.string() })),
            /** How the child's file tools call the folder. */
            dir: z.string(),
          })
          .optional(),
        /** Seconds from its first turn; absent: none of its own. */
        runTimeoutSeconds: z.number().int().optional(),
        /** The latest end, where the parent has one. */
        deadlineAt: timeMs.optional(),
        /** `not_required`: the result stays in the child's session. */
        delivery: z.enum(["pending", "not_required"]),
        note: z.string(),
      }),
  }),
  "subagents.yield": method({
    summary: "End this turn until a child's result is there; the run waits without a slot and keeps its id.",
    scope: "operator.write",
    kind: "command",
    callers: ["run"],
    params: () => z.strictObject({ message: z.string().optional() }),
    result: () => z.object({ status: z.literal("yielded"), openChildren: z.number().int() }),
  }),
  "subagents.list": method({
    summary: "The sub-agents of a session, newest first, how each stands, and what became of its result.",
    scope: "operator.read",
    kind: "query",
    params: () =>
      z.strictObject({
        sessionKey: ofSession,
        /** `all`: also what they delegated in turn. */
        depth: z.enum(["children", "all"]).optional(),
        /** Those at work come before those that have ended, when there are more. */
        limit: z.number().int().min(1).max(100).optional(),
      }),
    result: () => z.object({ sessionKey: z.string(), subagents: z.array(listed) }),
  }),
  "subagents.wait": method({
    summary: "Wait until all of the named sub-agents have ended, or the time is over. Their results still come by themselves.",
    scope: "operator.read",
    kind: "query",
    params: () =>
      z.strictObject({
        sessionKey: ofSession,
        subagents: z.array(handle).min(1).max(32),
        timeoutSeconds: z.number().int().min(0).max(60).optional(),
      }),
    result: () => z.object({ status: z.enum(["ended", "timeout"]), subagents: z.array(asked) }),
  }),
  "subagents.cancel": method({
    summary: "Stop a sub-agent with everything it delegated. Nothing else: neither the caller, nor what is above or beside it.",
    scope: "operator.write",
    kind: "command",
    params: () => z.strictObject({ sessionKey: ofSession, subagent: handle }),
    result: () => z.object({ subagent: asked, cancelledRunIds: z.array(z.string()) }),
  }),
  "subagents.cancelAll": method({
    summary: "Stop whatever is at work below a session, also below sub-agents that have ended. Nothing of the session itself.",
    scope: "operator.write",
    kind: "command",
    params: () => z.strictObject({ sessionKey: ofSession }),
    result: () => z.object({ sessionKey: z.string(), cancelledRunIds: z.array(z.string()) }),
  }),
  "subagents.steer": method({
    summary: "Say something to a sub-agent that works: it reads it between two of its steps. One that has ended takes it up as a new turn.",
    scope: "operator.write",
    kind: "command",
    params: () => z.strictObject({ sessionKey: ofSession, subagent: handle, message: nonEmpty.max(4_000), idempotencyKey }),
    result: () =>
      z.object({
        subagent: asked,
        /** The message as a run of its own: it ends when the sub-agent has read it, or with its answer when it gets a turn. */
        runId: z.string(),
      }),
  }),
};

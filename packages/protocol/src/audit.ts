/**
 * The audit: every grant as a row of a chain, refusals as counts, and why something was decided.
 * NOTE: the reference has methods `audit.list` and `audit.activity.list` of another shape under `operator.read`. Ours name every
 * device, its keys' approvals and who was refused, so they need `operator.admin`.
 */
import { z } from "zod";
import { method } from "./define.ts";
import { nonEmpty, timeMs } from "./shapes.ts";

export const auditRow = z.object({
  seq: z.number().int(),
  atMs: timeMs,
  kind: z.string(),
  /** The principal that caused it. */
  actor: z.string(),
  /** What it was done to: a device id, a run id, a session key. */
  subject: z.string(),
  /** A JSON object as text: exactly what is hashed. */
  facts: z.string(),
  prevHash: z.string(),
  /** Hex SHA-256 of the JSON array [seq, atMs, kind, actor, subject, facts, prevHash]. */
  hash: z.string(),
});

const chainBreak = z.object({ seq: z.number().int(), reason: z.enum(["missing-rows", "broken-link", "changed-row"]) });

export const auditVerdict = z.object({
  ok: z.boolean(),
  /** Rows up to the first one that does not hold. */
  rows: z.number().int(),
  /** The last row that holds: kept elsewhere, it shows later that none was cut off the end. */
  head: z.object({ seq: z.number().int(), hash: z.string() }).optional(),
  firstBreak: chainBreak.optional(),
});

export const refusalCount = z.object({
  /** The beginning of the minute. */
  minuteMs: timeMs,
  principal: z.string(),
  method: z.string(),
  rule: z.string(),
  count: z.number().int(),
});

/** One link of a chain of cause: what was decided, by which rule, and who caused it. */
export const explainedStep = z.object({
  about: z.enum(["pairing-request", "device", "run", "session", "audit-row", "secret", "refusal", "unknown"]),
  id: z.string(),
  /** A stable name, such as `run.spawned` or `pairing.pending/scope-upgrade`. */
  rule: z.string(),
  atMs: timeMs.optional(),
  /** The principal that caused it. */
  by: z.string().optional(),
  /** The row of the audit that holds it. */
  seq: z.number().int().optional(),
  text: z.string(),
});

const limit = z.number().int().min(1).max(1_000);

export const auditMethods = {
  "audit.list": method({
    summary: "Grants and decisions as they were written down, newest first.",
    scope: "operator.admin",
    kind: "query",
    callers: ["operator"],
    params: () =>
      z.strictObject({
        limit: limit.optional(),
        /** The `nextCursor` of the page before. */
        cursor: z
          .string()
          .regex(/^[1-9]\d{0,14}$/, "must be a nextCursor of this method")
          .optional(),
        kind: nonEmpty.optional(),
        /** An id, or a part that only one has: its beginning, a run's end. */
        subject: nonEmpty.optional(),
      }),
    result: () => z.object({ rows: z.array(auditRow), nextCursor: z.string().optional() }),
  }),
  "audit.verify": method({
    summary: "Check the whole chain of the audit; `firstBreak` names the first row that does not hold.",
    scope: "operator.admin",
    kind: "query",
    callers: ["operator"],
    params: () => z.strictObject({}),
    result: () => auditVerdict,
  }),
  "audit.refusals": method({
    summary: "How often who was refused what by which rule, by the minute, newest first.",
    scope: "operator.admin",
    kind: "query",
    callers: ["operator"],
    params: () => z.strictObject({ sinceMs: timeMs.optional(), limit: limit.optional() }),
    result: () => z.object({ refusals: z.array(refusalCount) }),
  }),
  "audit.explain": method({
    summary: "Why: the rule that decided about a pairing request, device, run, session or audit row, and the chain of cause.",
    scope: "operator.admin",
    kind: "query",
    callers: ["operator"],
    /** An id, or a part that only one has: its beginning, a run's end. */
    params: () => z.strictObject({ id: nonEmpty.max(512) }),
    result: () => z.object({ id: z.string(), steps: z.array(explainedStep) }),
  }),
};

export type AuditRow = z.infer<typeof auditRow>;
export type ExplainedStep = z.infer<typeof explainedStep>;

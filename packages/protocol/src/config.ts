/** The configuration file over the wire: shown without its secrets, changed as a whole or by a patch, guarded by its hash. */
import { z } from "zod";
import { event, method } from "./define.ts";
import { nonEmpty, timeMs } from "./shapes.ts";

const object = z.record(z.string(), z.unknown());

const issue = z.object({
  /** Keys joined by dots; empty for the whole. */
  path: z.string(),
  message: z.string(),
});

const snapshot = z.object({
  path: z.string(),
  exists: z.boolean(),
  /** The file's text; null when there is a secret or a comment in it. */
  raw: z.string().nullable(),
  /** As the file has it; null when it is no JSON5 object. The next three are the same: nothing is included or migrated. */
  parsed: object.nullable(),
  sourceConfig: object.nullable(),
  resolved: object.nullable(),
  config: object.nullable(),
  /** What counts now, with every default. */
  runtimeConfig: object,
  valid: z.boolean(),
  issues: z.array(issue),
  warnings: z.array(issue),
  legacyIssues: z.array(issue),
  includedPaths: z.array(z.string()),
  hash: z.string(),
  /** Keys of the file that differ from what counts now: they need a restart, or, where they can count at once, `config.apply`. */
  restartRequired: z.array(z.string()),
});

const changed = z.object({
  ok: z.literal(true),
  /** The file was as asked for already. */
  noop: z.literal(true).optional(),
  path: z.string(),
  hash: z.string(),
  config: object,
  changedPaths: z.array(z.string()),
  restartRequired: z.array(z.string()),
  sentinel: z.object({
    persisted: z.literal(false),
    payload: z.object({
      kind: z.string(),
      status: z.literal("ok"),
      ts: timeMs,
      message: z.string(),
      doctorHint: z.string(),
      stats: z.object({ mode: z.string(), requiresRestart: z.boolean() }),
    }),
  }),
});

const raw = z.string().min(1).max(1_048_576);
const baseHash = nonEmpty.optional();

const hint = z.object({ help: z.string().optional(), sensitive: z.boolean().optional() });
const reloadKind = z.enum(["hot", "restart"]);

const hinted = { reloadKind, hint: hint.optional(), hintPath: z.string().optional() };

/** Where a client says who is to be told after a restart; nothing restarts by itself. */
const aboutRestart = ["sessionKey", "note", "restartDelayMs"];

const byOperator = { callers: ["operator"] } as const;

export const configMethods = {
  "config.get": method({
    ...byOperator,
    summary: "The configuration file as it is, its hash and what counts now; secrets are shown as `__OPENCLAW_REDACTED__`.",
    scope: "operator.read",
    kind: "query",
    params: () => z.strictObject({}),
    result: () => snapshot,
  }),
  "config.schema": method({
    ...byOperator,
    summary: "The JSON Schema of the configuration, and what each key means.",
    scope: "operator.read",
    kind: "query",
    params: () => z.strictObject({}),
    result: () => z.object({ schema: z.unknown(), uiHints: z.record(z.string(), hint), version: z.string(), generatedAt: z.string() }),
  }),
  "config.schema.lookup": method({
    ...byOperator,
    summary: "One key of the configuration, the keys below it, and whether a change counts at once.",
    scope: "operator.read",
    kind: "query",
    params: () => z.strictObject({ path: nonEmpty.max(1_024).regex(/^[A-Za-z0-9_./[\]\-*]+$/, "must be keys joined by dots") }),
    result: () =>
      z.object({
        path: z.string(),
        schema: z.unknown(),
        ...hinted,
        children: z.array(
          z.object({
            key: z.string(),
            path: z.string(),
            type: z.string().optional(),
            required: z.boolean(),
            hasChildren: z.boolean(),
            ...hinted,
          }),
        ),
      }),
  }),
  "config.set": method({
    ...byOperator,
    summary: "Replace the configuration file by a JSON5 text. Its comments stay unless it holds the sentinel of a secret.",
    scope: "operator.admin",
    kind: "command",
    params: () => z.strictObject({ raw, baseHash }),
    result: () => changed,
  }),
  "config.patch": method({
    ...byOperator,
    summary: "Merge a JSON merge patch into the configuration file; its comments go, the file before is kept as `<path>.bak`.",
    scope: "operator.admin",
    kind: "command",
    rate: "control-write",
    params: () => z.strictObject({ raw, baseHash, replacePaths: z.array(nonEmpty).max(256).default([]) }),
    ignored: aboutRestart,
    unsupported: ["deliveryContext"],
    result: () => changed,
  }),
  "config.apply": method({
    ...byOperator,
    summary: "As `config.set`: what can count at once does; nothing restarts by itself, `restartRequired` says what waits for it.",
    scope: "operator.admin",
    kind: "command",
    rate: "control-write",
    params: () => z.strictObject({ raw, baseHash }),
    ignored: aboutRestart,
    unsupported: ["deliveryContext"],
    result: () => changed,
  }),
};

export const configEvents = {
  "config.changed": event({
    summary: "The configuration file was changed by a method.",
    scope: "operator.admin",
    droppable: false,
    payload: () => z.object({ path: z.string(), hash: z.string(), ts: timeMs }),
  }),
};

/** A job as somebody writes it: what the gateway does not have is refused by name, and a change leaves a whole job. Pure. */
import {
  cronJobSpec,
  type CronJobSpec,
  describeIssues,
  isRecord,
  type Params,
  ProtocolError,
  type ThinkingLevel,
  thinkingLevels,
} from "@portreeve/protocol";

export interface JobToAdd {
  readonly spec: CronJobSpec;
  readonly enabled: boolean;
  readonly createdAtMs: number;
  /** The time that stays the next one; undefined: it is found anew. */
  readonly nextRunAtMs?: number | undefined;
  /** Its times up to then came to pass, also when the clock was set back since. */
  readonly passedMs?: number | undefined;
}

type Asked = Omit<Params<"cron.add">, "enabled">;
type Patch = Omit<Params<"cron.update">["patch"], "enabled">;

/** @throws ProtocolError NOT_SUPPORTED, INVALID_PARAMS */
export function toSpec(asked: Asked): CronJobSpec {
  return parse("cron.add", { ...(asked.schedule.kind === "at" ? { deleteAfterRun: true } : {}), ...withoutNulls(asked) });
}

/** A null takes away; parts of the same kind are merged. @throws ProtocolError NOT_SUPPORTED, INVALID_PARAMS */
export function toPatchedSpec(
  spec: CronJobSpec,
  { pacing, trigger, failureAlert, state, payload, delivery, ...patch }: Patch,
): CronJobSpec {
  for (const [name, value] of Object.entries({ pacing, trigger, failureAlert, state })) if (!isNothing(value)) throw unsupported(name);
  // It says something of a job with one time alone, which may have been given it unasked.
  const flag = (patch.schedule?.kind ?? spec.schedule.kind) === spec.schedule.kind ? spec.deleteAfterRun : undefined;
  const merged = payload?.kind === spec.payload.kind ? { ...spec.payload, ...payload } : payload;
  return parse("cron.update", {
    ...withoutNulls({ ...spec, deleteAfterRun: flag, ...patch }),
    ...(merged === undefined ? {} : { payload: withoutNulls(merged) }),
    ...(delivery === undefined ? {} : { delivery: withoutNulls({ mode: "none", ...spec.delivery, ...delivery }) }),
  });
}

/** @throws ProtocolError THINKING_UNUSABLE */
export async function findSpecProblem(
  { payload }: CronJobSpec,
  problemWith: (level: ThinkingLevel) => Promise<string | undefined>,
): Promise<void> {
  const asked = payload.kind === "agentTurn" ? payload.thinking : undefined;
  if (asked === undefined) return;
  const level = thinkingLevels.find((known) => known === asked);
  const problem = level === undefined ? `expected one of ${thinkingLevels.join(", ")}` : await problemWith(level);
  if (problem !== undefined) throw new ProtocolError("THINKING_UNUSABLE", `thinking ${JSON.stringify(asked)}: ${problem}`);
}

function parse(method: string, raw: Readonly<Record<string, unknown>>): CronJobSpec {
  const { schedule, payload, delivery } = raw;
  assertKind("schedule", schedule, ["at", "every", "cron"]);
  assertKind("payload", payload, ["systemEvent", "agentTurn"]);
  const parsed = cronJobSpec.safeParse(
    {
      ...raw,
      payload: known("payload", payload, ["fallbacks"]),
      ...(delivery === undefined ? {} : { delivery: toDelivery(delivery) }),
    },
    { reportInput: true },
  );
  if (parsed.success) return parsed.data;
  throw new ProtocolError("INVALID_PARAMS", `invalid ${method} params: ${describeIssues(parsed.error)}`);
}

function assertKind(part: string, value: unknown, kinds: readonly string[]): void {
  const kind = isRecord(value) ? value["kind"] : undefined;
  if (typeof kind === "string" && !kinds.includes(kind)) throw unsupported(`${part}.kind ${kind}`);
}

/** Results stay in their session: whoever names another place would wait there in vain. */
function toDelivery(value: unknown): unknown {
  if (isRecord(value) && value["mode"] === "webhook") throw unsupported("delivery.mode webhook");
  if (isRecord(value) && value["channel"] !== undefined && value["channel"] !== "last") throw unsupported("delivery.channel");
  return known("delivery", value, ["to", "threadId", "accountId", "failureDestination", "completionDestination"]);
}

/** Without the fields that the gateway does not have, as long as they say nothing. */
function known(part: string, value: unknown, others: readonly string[]): unknown {
  if (!isRecord(value)) return value;
  const said = others.find((name) => !isNothing(value[name]));
  if (said !== undefined) throw unsupported(`${part}.${said}`);
  return Object.fromEntries(Object.entries(value).filter(([name]) => !others.includes(name)));
}

function isNothing(value: unknown): boolean {
  return value === undefined || value === null || value === false || value === "" || (Array.isArray(value) && value.length === 0);
}

function withoutNulls(value: object): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== null && one !== undefined));
}

function unsupported(what: string): ProtocolError {
  return new ProtocolError("NOT_SUPPORTED", `not supported: ${what}`, {
    remedy:
      "a job here has a schedule of kind at, every or cron, speaks to an agent (agentTurn or systemEvent), and leaves the answer in its session",
  });
}

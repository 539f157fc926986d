/**
 * Why something was decided, from the store alone: the rule, who, when, and what caused that in turn, down to a device's
 * pairing or the shared secret.
 */
import type { ExplainedStep } from "@portreeve/protocol";
import type { AuditRow, PairingDecision } from "../store/audit-store.ts";
import type { DeviceRecord, DeviceState } from "../store/device-store.ts";
import type { RunRecord, SessionRecord, Store } from "../store/store.ts";
import { ambiguousId, findMeantId, type MeantId } from "./whole-id.ts";

export interface ExplainReads {
  readonly audit: Pick<Store["audit"], "list" | "findRequest" | "findIds">;
  readonly refusals: Pick<Store["refusals"], "list">;
  readonly devices: Pick<Store["devices"], "find">;
  readonly runs: Pick<Store["runs"], "find" | "findByWireId">;
  readonly sessions: Pick<Store["sessions"], "find">;
}

/** What is stored under one id. */
type Found =
  | { readonly kind: "audit-row"; readonly row: AuditRow }
  | { readonly kind: "run"; readonly run: RunRecord; readonly rows: readonly AuditRow[] }
  | { readonly kind: "session"; readonly session: SessionRecord }
  | { readonly kind: "request"; readonly decision: PairingDecision; readonly rows: readonly AuditRow[] }
  | { readonly kind: "device"; readonly deviceId: string; readonly state: DeviceState; readonly rows: readonly AuditRow[] }
  | { readonly kind: "secret" }
  /** Gone from its table, still in the audit. */
  | { readonly kind: "remembered"; readonly id: string; readonly rows: readonly AuditRow[] };

/** Longer chains are cut: spawning is at most a few levels deep, approvals seldom more. */
const mostSteps = 40;
const rowsOfSubject = 20;
const refusalsShown = 10;

export type Explained =
  | { readonly kind: "steps"; readonly steps: readonly ExplainedStep[] }
  | { readonly kind: "none"; readonly refusal: ReturnType<typeof unknownId> | ReturnType<typeof ambiguousId> };

/** The steps from what `text` names, by its id or a part that is enough, to its first cause; or why it names nothing. */
export async function explain(reads: ExplainReads, text: string, nowMs: number): Promise<Explained> {
  const asked = await findAsked(reads, text);
  if (asked === undefined) return { kind: "none", refusal: unknownId(text) };
  if (asked.kind === "ambiguous") return { kind: "none", refusal: ambiguousId(text, asked.ids) };
  const untilMs = asked.kind === "run" ? asked.run.createdAtMs : nowMs;
  const steps: ExplainedStep[] = [];
  const seen = new Set([text]);
  let found: Found | undefined = asked;
  while (found !== undefined && steps.length < mostSteps) {
    const told = tell(found, { nowMs, untilMs });
    steps.push(...told.steps, ...(await tellRefusals(reads, { found, asked, nowMs })));
    const { cause }: Told = told;
    if (cause === undefined || seen.has(cause)) break;
    seen.add(cause);
    found = await find(reads, cause);
    if (found === undefined) steps.push(forgotten(cause));
  }
  return { kind: "steps", steps };
}

/** Ids that callers choose come last: none can stand before one of ours, or before a part of one. */
async function findAsked(reads: ExplainReads, text: string): Promise<Found | Extract<MeantId, { kind: "ambiguous" }> | undefined> {
  const exact = await find(reads, text);
  if (exact !== undefined) return exact;
  const meant = await findMeantId(reads.audit, bareId(text));
  if (meant.kind === "ambiguous") return meant;
  const part = await find(reads, meant.id);
  if (part !== undefined) return part;
  const run = await reads.runs.findByWireId(bareId(text), {});
  return run === undefined ? undefined : { kind: "run", run, rows: await rowsAbout(reads, run.runId) };
}

function unknownId(id: string) {
  return {
    code: "UNKNOWN_ID",
    message: `nothing is stored under ${JSON.stringify(id)}`,
    remedy:
      "Give the whole id of a pairing request, device, run, session or audit row: ./portreeve audit list --json, ./portreeve sessions list",
  } as const;
}

/** By a whole id; principals are found by what they stand for. */
async function find(reads: ExplainReads, id: string): Promise<Found | undefined> {
  if (id === secretStep.id) return { kind: "secret" };
  if (/^[1-9]\d{0,14}$/.test(id)) {
    const [row] = await reads.audit.list(1, { beforeSeq: Number(id) + 1 });
    if (row?.seq === Number(id)) return { kind: "audit-row", row };
  }
  const bare = bareId(id);
  const rowsOf = (subject: string): Promise<readonly AuditRow[]> => rowsAbout(reads, subject);
  const run = await reads.runs.find(bare);
  if (run !== undefined) return { kind: "run", run, rows: await rowsOf(run.runId) };
  const session = await reads.sessions.find(bare);
  if (session !== undefined) return { kind: "session", session };
  const decision = await reads.audit.findRequest(bare);
  if (decision !== undefined) return { kind: "request", decision, rows: await rowsOf(decision.request.deviceId) };
  const state = await reads.devices.find(bare);
  const rows = await rowsOf(bare);
  if (state.kind !== "unknown" || state.pending !== undefined) return { kind: "device", deviceId: bare, state, rows };
  return rows.length > 0 ? { kind: "remembered", id: bare, rows } : undefined;
}

function rowsAbout(reads: ExplainReads, subject: string): Promise<readonly AuditRow[]> {
  return reads.audit.list(rowsOfSubject, { subject });
}

function bareId(id: string): string {
  return id.replace(/^(device|run|lifecycle):/, "");
}

interface Told {
  readonly steps: readonly ExplainedStep[];
  /** The principal, or the id, that caused it; undefined at the first cause. */
  readonly cause: string | undefined;
}

interface Times {
  readonly nowMs: number;
  /** What was written down later caused nothing of it. */
  readonly untilMs: number;
}

/** Pure. */
function tell(found: Found, { nowMs, untilMs }: Times): Told {
  switch (found.kind) {
    case "audit-row":
      return { steps: [tellRow(found.row)], cause: causeOf(found.row) };
    case "run":
      return tellRun(found.run, found.rows);
    case "session":
      return tellSession(found.session);
    case "request":
      return tellRequest(found.decision, found.rows, nowMs);
    case "device":
      return tellDevice(
        found.deviceId,
        found.state,
        found.rows.filter(({ atMs }) => atMs <= untilMs),
      );
    case "secret":
      return { steps: [secretStep], cause: undefined };
    case "remembered":
      return { steps: found.rows.toReversed().map(tellRow), cause: found.rows.map(causeOf).at(-1) };
  }
}

const secretStep: ExplainedStep = {
  about: "secret",
  id: "secret:local",
  rule: "secret.local",
  text: "whoever holds the gateway's shared secret on its own machine, without a device",
};

function forgotten(id: string): ExplainedStep {
  return { about: "unknown", id, rule: "forgotten", text: `nothing is stored under ${id} any more` };
}

function tellRow({ seq, atMs, kind, actor, subject, factsText }: AuditRow): ExplainedStep {
  return {
    about: "audit-row",
    id: subject,
    rule: kind,
    atMs,
    by: actor,
    seq,
    text: `row ${seq} of the audit: ${kind} of ${subject}, ${factsText}`,
  };
}

/** A device that is paired silently, or a session that is deleted, has no earlier cause than its actor. */
function causeOf({ actor, subject }: AuditRow): string | undefined {
  return actor === `device:${subject}` ? undefined : actor;
}

function tellRun(run: RunRecord, rows: readonly AuditRow[]): Told {
  const row = rows.at(-1);
  const rules = { message: "run.started", spawn: "run.spawned", announce: "run.announced", cron: "run.scheduled" } as const;
  const how = {
    message: `was started by ${run.startedBy}`,
    spawn: `was spawned by ${run.startedBy} for ${run.parentSessionKey ?? "a session"}`,
    cron: `was started by a job that acts for ${run.startedBy}`,
    announce: "was made to read results of sub-agents that no run waited for",
  } as const;
  const { scopes, owner, depth } = run.authority;
  const may = `may use ${scopes.join(", ") || "no scope"}${owner ? " and the owner's tools" : ""}, depth ${depth}`;
  const step: ExplainedStep = {
    about: "run",
    id: run.runId,
    rule: row?.kind ?? rules[run.trigger],
    atMs: run.createdAtMs,
    by: run.startedBy,
    ...(row === undefined ? {} : { seq: row.seq }),
    text: `the run in ${run.sessionKey} ${how[run.trigger]}; it ${may}; it is ${run.status}`,
  };
  return { steps: [step], cause: run.startedBy };
}

function tellSession(session: SessionRecord): Told {
  const parent = session.parentKey === undefined ? "" : ` as a child of ${session.parentKey}`;
  const step: ExplainedStep = {
    about: "session",
    id: session.key,
    rule: session.parentKey === undefined ? "session.created" : "session.spawned",
    atMs: session.createdAtMs,
    by: session.createdBy,
    text: `the session of agent ${session.agentId} was made by ${session.createdBy}${parent}`,
  };
  return { steps: [step], cause: session.createdBy };
}

function tellRequest({ request, state }: PairingDecision, rows: readonly AuditRow[], nowMs: number): Told {
  const { requestId, deviceId, reason, scopes, role, createdAtMs, expiresAtMs } = request;
  const row = rows.findLast(({ facts }) => facts["requestId"] === requestId);
  const isExpired = state === "pending" && expiresAtMs <= nowMs;
  const outcome = isExpired ? "expired" : state;
  const asked = `${deviceId} asked for role ${role} with ${scopes.join(", ") || "no scope"}`;
  const ends: Readonly<Record<typeof outcome, string>> = {
    pending: `it waits for an approval: ./portreeve devices approve ${requestId}`,
    expired: "nobody decided in time",
    approved: `it was approved by ${row?.actor ?? "somebody"}`,
    rejected: `it was rejected by ${row?.actor ?? "somebody"}`,
    superseded: "a wider request of the same device took its place",
  };
  const step: ExplainedStep = {
    about: "pairing-request",
    id: requestId,
    rule: `pairing.${outcome}/${reason}`,
    atMs: row?.atMs ?? createdAtMs,
    ...(row === undefined ? {} : { by: row.actor, seq: row.seq }),
    text: `${asked}; ${ends[outcome]}`,
  };
  return { steps: [step], cause: row?.actor ?? `device:${deviceId}` };
}

const byOwner = { rule: "device.approved", how: "by the owner" };
const waysToPair: Readonly<Record<DeviceRecord["approvedVia"], { readonly rule: string; readonly how: string }>> = {
  silent: { rule: "device.paired", how: "silently, by a direct local peer with the shared secret" },
  owner: byOwner,
  bootstrap: byOwner,
  bearer: { rule: "device.bearer-issued", how: "by the owner as a bearer, which has a token and no key" },
};

function tellDevice(deviceId: string, state: DeviceState, rows: readonly AuditRow[]): Told {
  const base = { about: "device" as const, id: deviceId };
  const history = rows.toReversed().map(tellRow);
  const granted = rows.findLast(({ kind }) => ["device.paired", "device.approved", "device.bearer-issued"].includes(kind));
  const cause = granted === undefined ? undefined : causeOf(granted);
  switch (state.kind) {
    case "corrupt":
      return {
        steps: [{ ...base, rule: "device.corrupt", text: "the stored record cannot be read, so it grants nothing" }, ...history],
        cause,
      };
    case "unknown":
      return {
        steps: [{ ...base, rule: "device.unknown", text: "the device is not paired; a request of it waits or waited" }, ...history],
        cause,
      };
    case "paired": {
      const { approvedVia, approvedAtMs, grants } = state.device;
      const may = grants.map(
        ({ role, scopes, revokedAtMs }) =>
          `${role} with ${scopes.join(", ") || "no scope"}${revokedAtMs === undefined ? "" : " (revoked)"}`,
      );
      const { rule, how } = waysToPair[approvedVia];
      const step: ExplainedStep = {
        ...base,
        rule,
        atMs: approvedAtMs,
        ...(granted === undefined ? {} : { by: granted.actor, seq: granted.seq }),
        text: `the device was paired ${how}; it is approved for ${may.join("; ") || "nothing"}`,
      };
      return { steps: [step, ...history.filter(({ seq }) => seq !== granted?.seq)], cause };
    }
  }
}

interface Telling {
  readonly found: Found;
  readonly asked: Found;
  readonly nowMs: number;
}

/** Of the device that was asked about; or of the run and those it goes back to, while it lasted. */
async function tellRefusals(reads: ExplainReads, telling: Telling): Promise<readonly ExplainedStep[]> {
  const whose = refusedOf(telling);
  if (whose === undefined) return [];
  const { principal, sinceMs, untilMs } = whose;
  const counted = await reads.refusals.list({ sinceMs, limit: refusalsShown, principal });
  return counted
    .filter(({ minuteMs }) => minuteMs <= untilMs)
    .map(({ minuteMs, method, rule, count }) => ({
      about: "refusal",
      id: principal,
      rule,
      atMs: minuteMs,
      by: principal,
      text: `refused ${count} time${count === 1 ? "" : "s"} within a minute: ${method}`,
    }));
}

/** Pure. */
function refusedOf({ found, asked, nowMs }: Telling) {
  if (asked.kind === "run" && found.kind === "run") {
    const { createdAtMs, endedAtMs = nowMs } = asked.run;
    return { principal: `run:${found.run.runId}`, sinceMs: createdAtMs - (createdAtMs % 60_000), untilMs: endedAtMs };
  }
  const device = asked.kind === "request" ? asked.decision.request.deviceId : asked.kind === "device" ? asked.deviceId : undefined;
  if (device === undefined || found.kind !== "device" || found.deviceId !== device) return undefined;
  return { principal: `device:${device}`, sinceMs: 0, untilMs: nowMs };
}

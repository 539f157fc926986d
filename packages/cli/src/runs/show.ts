/** Runs as tables, trees and the whole story of one. All pure; `nowMs` is the reader's clock. */
import type { Result, RunRow } from "@portreeve/protocol/wire";
import { tellScopes, tellSpan } from "../devices/words.ts";
import { oneLine, toMinute, toTable } from "../output.ts";

type RunDetails = Result<"runs.get">;

/** The end of an id tells runs apart; their beginnings are times. */
export function shortRunId(runId: string): string {
  return runId.slice(-8);
}

export function showRuns(runs: readonly RunRow[], nowMs: number): string {
  if (runs.length === 0) return "No run fits. Start one: ./portreeve agent MESSAGE";
  return toTable(
    headings,
    runs.map((run) => [shortRunId(run.runId), ...cellsOf(run, nowMs)]),
  );
}

/** Each run below the one that asked it, indented. */
export function showTree({ runs, isCut }: Result<"runs.tree">, nowMs: number): string {
  const top = runs[0]?.depth ?? 0;
  const rows = runs.map((run) => [`${"· ".repeat(run.depth - top)}${shortRunId(run.runId)}`, ...cellsOf(run, nowMs)]);
  return `${toTable(headings, rows)}${isCut ? "\nThere are more." : ""}`;
}

/** One line for a run that has changed. */
export function tellRun(run: RunRow): string {
  return oneLine(`${shortRunId(run.runId)} ${tellState(run)}, result ${tellDelivery(run)}: ${tellWhat(run)}`, 200);
}

/** The run, its attempts, each way its result took, and then what caused it, down to the first cause. */
export function showRun({ run, result, ancestors, attempts, deliveries }: RunDetails, nowMs: number): string {
  const facts = [
    ["state", tellState(run)],
    ["result", tellDelivery(run)],
    ["asked by", tellWho(run.startedBy)],
    ["may", `${tellScopes(run.scopes)}${run.owner ? ", the owner's tools" : ""}, depth ${run.depth}`],
    ["model", run.model],
    ["session", run.sessionKey],
    ["asked", toMinute(run.createdAt)],
    ...(run.startedAt === undefined ? [] : [["began", `${toMinute(run.startedAt)}, after ${tellSpan(run.startedAt - run.createdAt)}`]]),
    ...(run.endedAt === undefined ? [] : [["ended", `${toMinute(run.endedAt)}, after ${tellTime(run, nowMs)}`]]),
    ...(run.deadlineAt === undefined ? [] : [["deadline", toMinute(run.deadlineAt)]]),
    ["tokens", tellTokens(run)],
    ["children", run.children.total === 0 ? "none" : `${run.children.total}, ${run.children.open} of them open`],
    ...(run.waitsFor === undefined ? [] : [["waits for", tellWaiting(run)]]),
    ["attempts", `taken up ${attempts.claims} times; ${attempts.modelCalls} model calls, ${attempts.toolCalls} tool calls`],
    ...attempts.failures.map(({ at, errorKind, message }) => ["", `failed ${toMinute(at)}: ${errorKind}: ${oneLine(message, 200)}`]),
    ["task", oneLine(run.task, 400)],
    ...(result === undefined || result === "" ? [] : [["said", oneLine(result, 400)]]),
    ...(run.status === "succeeded" && run.stopReason === "length"
      ? [["note", "the reply was cut off: its model had no tokens left to go on"]]
      : []),
    ...(run.error === undefined ? [] : [["error", oneLine(run.error, 400)]]),
  ];
  return [
    `Run ${run.runId}\n${facts.map(([name = "", text = ""]) => `${name.padEnd(10)}${oneLine(text, 500)}`.trimEnd()).join("\n")}`,
    ...deliveries.map(tellHop),
    ...ancestors.toReversed().map((cause) => `because run ${cause.runId} (${tellState(cause)}) asked it\n  ${tellCause(cause)}`),
  ].join("\n");
}

/** `device 8d20b1f4`, `run 3fa9…`: whoever asked, as other commands take it. */
export function tellWho(principal: string): string {
  const [kind = "", id = ""] = principal.split(":", 2);
  if (kind === "device") return `device ${id.slice(0, 8)}`;
  if (kind === "run") return `run ${shortRunId(id)}`;
  return kind === "secret" ? "the local secret" : principal;
}

const headings = ["RUN", "STATE", "ASKED BY", "WHAT", "SINCE", "FOR", "WAITS FOR", "TOKENS", "RESULT"];

function cellsOf(run: RunRow, nowMs: number): string[] {
  return [
    run.status,
    tellWho(run.startedBy),
    oneLine(tellWhat(run), 40),
    toMinute(run.startedAt ?? run.createdAt),
    tellTime(run, nowMs),
    tellWaiting(run),
    String(run.usage.totalTokens),
    run.delivery.status.replace("_", " "),
  ];
}

function tellWhat({ label, taskName, task, trigger }: RunRow): string {
  const name = label ?? taskName;
  if (name !== undefined) return name;
  return trigger === "announce" ? "(reads results of sub-agents)" : task;
}

function tellState({ status, stopReason }: RunRow): string {
  return stopReason === undefined ? status : `${status} (${stopReason})`;
}

function tellDelivery({ delivery: { status, readBy, at } }: RunRow): string {
  const by = readBy === undefined ? "" : ` ${status === "pending" ? "for" : "to"} run ${shortRunId(readBy)}`;
  return `${status.replace("_", " ")}${by}${at === undefined ? "" : `, ${toMinute(at)}`}`;
}

function tellTime({ createdAt, startedAt, endedAt }: RunRow, nowMs: number): string {
  return tellSpan((endedAt ?? nowMs) - (startedAt ?? createdAt));
}

function tellTokens({ usage }: RunRow): string {
  return `${usage.input} in, ${usage.output} out`;
}

function tellWaiting({ waitsFor }: RunRow): string {
  switch (waitsFor?.kind) {
    case undefined:
      return "-";
    case "slot":
      return "a slot";
    case "session":
      return `run ${shortRunId(waitsFor.runId)}`;
    case "children":
      return waitsFor.runIds.map(shortRunId).join(", ");
  }
}

function tellHop({ generation, state, toSessionKey, createdAt, settledAt, readBy, closedBy }: RunDetails["deliveries"][number]): string {
  const by = readBy === undefined ? "" : ` by run ${readBy}`;
  const decided = closedBy === undefined ? "" : `, decided by ${tellWho(closedBy)}`;
  const settled = settledAt === undefined ? "" : ` ${toMinute(settledAt)}`;
  return oneLine(`delivery ${generation} to ${toSessionKey}, made ${toMinute(createdAt)}: ${state}${by}${settled}${decided}`, 400);
}

function tellCause(run: RunRow): string {
  const by = `asked by ${tellWho(run.startedBy)} ${toMinute(run.createdAt)} in ${run.sessionKey}`;
  return oneLine(`${by}; it may ${tellScopes(run.scopes)}: ${oneLine(tellWhat(run), 200)}`, 600);
}

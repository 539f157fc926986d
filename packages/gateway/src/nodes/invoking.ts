/**
 * `node.invoke`, from the ask to the one answer: what is sent is declared, approved at that moment and sent once under its key;
 * what comes back counts only from the connection that was asked, and only while the command is still approved.
 */
import { createHash } from "node:crypto";
import { limits, nestsDeeperThan, ProtocolError, type Result } from "@portreeve/protocol";
import type { NodeLink } from "../identity/node-link.ts";
import type { Clock } from "../kit/clock.ts";
import type { Ids } from "../kit/ids.ts";
import type { Principal } from "../principal/principal.ts";
import type { NodeWorkStore } from "../store/node-work.ts";
import type { NodeStore } from "../store/nodes.ts";
import { Askers } from "./askers.ts";
import type { Answerer, InvokeOutcome, Invocations } from "./invocations.ts";
import type { KeptAnswers } from "./kept-answers.ts";
import type { NodeSockets } from "./node-sockets.ts";
import { type ProgramRun, toProgramRun } from "./program-run.ts";
import { commandNotAllowed, nodeUnapproved, notConnected, toAnswer } from "./outcomes.ts";

export interface InvokingDeps {
  readonly nodes: Pick<NodeStore, "find">;
  readonly work: Pick<NodeWorkStore, "beginInvocation" | "dropInvocation">;
  readonly sockets: NodeSockets;
  readonly invocations: Invocations;
  readonly answers: KeptAnswers;
  readonly clock: Clock;
  readonly ids: Ids;
}

export interface Ask {
  readonly nodeId: string;
  readonly command: string;
  readonly params: unknown;
  readonly timeoutMs: number | undefined;
  readonly idempotencyKey: string;
  /** Aborts when the caller does not wait any more. */
  readonly signal: AbortSignal;
}

/** @throws ProtocolError for every way in which there is no answer. */
export async function invokeNode(deps: InvokingDeps, principal: Principal, ask: Ask): Promise<Result<"node.invoke">> {
  const program = ask.command === "system.run" ? toProgramRun(ask) : undefined;
  const params = program?.params ?? ask.params;
  const paramsJSON = params === undefined ? undefined : JSON.stringify(params);
  if (paramsJSON !== undefined && Buffer.byteLength(paramsJSON) > limits.nodeParamsBytes)
    throw new ProtocolError("PAYLOAD_TOO_LARGE", `params of a node's command must not be larger than ${limits.nodeParamsBytes} bytes`);
  const fingerprint = hash([ask.nodeId, ask.command, paramsJSON ?? null]);
  const key = hash([principal.id, ask.idempotencyKey]);
  const known = deps.answers.find(key);
  if (known !== undefined && known.fingerprint !== fingerprint) throw otherAsk();
  const askers = known?.askers ?? new Askers();
  const prepared = { ask, paramsJSON, fingerprint, principal: principal.id, approval: program?.approval, gone: askers.gone };
  const answer = known?.answer ?? sendOnce(deps, prepared);
  if (known === undefined) deps.answers.keep(key, { fingerprint, answer, askers }, deps.clock.now());
  const outcome = await askers.wait(answer, ask.signal);
  const isApproved = outcome.kind !== "disconnected" || (await deps.nodes.find(ask.nodeId)).approved !== undefined;
  return toAnswer(isApproved ? outcome : { kind: "pairing-changed" }, ask);
}

/** What the node answered to an invocation. Answers whether that was still open, and this connection's to answer. */
export async function hearAnswer(deps: Pick<InvokingDeps, "nodes" | "invocations">, by: Answerer, result: NodeResult): Promise<boolean> {
  const command = deps.invocations.find(result.id, by);
  if (command === undefined || result.nodeId !== by.nodeId) return false;
  const { approved } = await deps.nodes.find(by.nodeId);
  const isApproved = approved?.commands.includes(command) === true;
  return deps.invocations.settle(result.id, by, isApproved ? toOutcome(result) : { kind: "pairing-changed" }) && isApproved;
}

export interface NodeResult {
  readonly id: string;
  readonly nodeId: string;
  readonly ok: boolean;
  readonly payload?: unknown;
  readonly payloadJSON?: string | null | undefined;
  readonly error?: { readonly code?: string | undefined; readonly message?: string | undefined } | null | undefined;
}

interface Prepared {
  readonly ask: Ask;
  readonly paramsJSON: string | undefined;
  readonly fingerprint: string;
  readonly principal: string;
  readonly approval: ProgramRun["approval"];
  readonly gone: AbortSignal;
}

/** Rejects as long as nothing was sent, and then never. */
async function sendOnce(
  deps: InvokingDeps,
  { ask, paramsJSON, fingerprint, principal, gone, ...standing }: Prepared,
): Promise<InvokeOutcome> {
  const { nodeId, command, idempotencyKey: key } = ask;
  const { approved } = await deps.nodes.find(nodeId);
  if (approved === undefined) throw nodeUnapproved();
  assertDeclared(deps.sockets.find(nodeId), command);
  if (!approved.commands.includes(command)) throw commandNotAllowed(command, "is not approved for the node");

  const approval = standing.approval && { ...standing.approval, requester: principal };
  const begun = await deps.work.beginInvocation({ principal, key, fingerprint, nodeId, command, approval }, deps.clock.now());
  if (begun === "node-unapproved") throw nodeUnapproved();
  if (begun === "command-unapproved") throw commandNotAllowed(command, "is not approved for the node");
  if (begun === "other-ask") throw otherAsk();
  if (begun === "repeated") throw answerNotKept();
  if (begun === "approval-unusable") throw approvalUnusable();
  const link = deps.sockets.find(nodeId);
  try {
    assertDeclared(link, command);
    if (deps.invocations.isFull(nodeId)) throw nodeBusy();
    gone.throwIfAborted();
  } catch (error) {
    await deps.work.dropInvocation({ principal, key });
    throw error;
  }
  const timeoutMs = Math.min(ask.timeoutMs || limits.nodeInvokeTimeoutMs, limits.nodeInvokeMaxTimeoutMs);
  return deps.invocations.send(link, { id: deps.ids.uuid(), command, paramsJSON, timeoutMs, gone });
}

function assertDeclared(link: NodeLink | undefined, command: string): asserts link is NodeLink {
  if (link === undefined) throw notConnected("node not connected");
  if (!link.declared.commands.includes(command)) throw commandNotAllowed(command, "is not declared by the node");
}

function toOutcome({ ok, payload, payloadJSON, error }: NodeResult): InvokeOutcome {
  if (!ok) return { kind: "failed", code: error?.code ?? "UNAVAILABLE", message: error?.message ?? "node failed" };
  const json = payloadJSON ?? (payload === undefined ? null : JSON.stringify(payload));
  if (json !== null && Buffer.byteLength(json) > limits.nodePayloadBytes) return { kind: "too-large" };
  return { kind: "answered", payload: payload ?? parseOrNull(json), payloadJSON: json };
}

function parseOrNull(json: string | null): unknown {
  try {
    const value: unknown = json === null ? null : JSON.parse(json);
    return nestsDeeperThan(value, limits.jsonLevels) ? null : value;
  } catch {
    return null;
  }
}

function hash(parts: readonly unknown[]): string {
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex");
}

function otherAsk(): ProtocolError {
  return new ProtocolError("IDEMPOTENCY_MISMATCH", "the idempotency key was used for another command", {
    remedy: "Use a new idempotencyKey for every command.",
  });
}

function answerNotKept(): ProtocolError {
  return new ProtocolError("ANSWER_NOT_KEPT", "the command was sent with this idempotency key before, and its answer is kept no longer", {
    remedy: "Look on the node whether it ran; to run it again use a new idempotencyKey.",
  });
}

function approvalUnusable(): ProtocolError {
  return new ProtocolError(
    "APPROVAL_UNUSABLE",
    "the approval is not for exactly this program, not allowed, used, or over: ask for a new one",
  );
}

function nodeBusy(): ProtocolError {
  return new ProtocolError("NODE_BUSY", `the node has ${limits.nodeInvocations} commands in work`, { retryAfterMs: 1_000 });
}

/**
 * `system.run` on a node. That a person approved it is for the gateway to say: it says so only of the exact effect that was
 * approved, once, to the one who asked; whatever a caller says of it is read by nobody. Pure.
 */
import { type Params, ProtocolError, systemRunParams } from "@portreeve/protocol";
import { assertSettable } from "../approvals/approval-ask.ts";
import { bindingOf } from "../approvals/effect.ts";

export interface ProgramRun {
  /** What the node is sent. */
  readonly params: Readonly<Record<string, unknown>>;
  /** The approval that it stands on; undefined: the caller's own authority. */
  readonly approval: { readonly id: string; readonly binding: string } | undefined;
}

type Ask = Pick<Params<"node.invoke">, "nodeId" | "params">;

/** @throws ProtocolError INVALID_PARAMS, NOT_ALLOWED */
export function toProgramRun({ nodeId, params }: Ask): ProgramRun {
  const parsed = systemRunParams.safeParse(params);
  if (!parsed.success) throw new ProtocolError("INVALID_PARAMS", `invalid system.run params: ${parsed.error.issues[0]?.message ?? ""}`);
  const { command: argv, cwd = null, env = {}, systemRunPlan: plan, runId, timeoutMs, approved, approvalDecision } = parsed.data;
  const { agentId = plan?.agentId ?? null, sessionKey = plan?.sessionKey ?? null } = parsed.data;
  assertSettable(env);
  if (runId === undefined && (approved !== undefined || approvalDecision !== undefined))
    throw new ProtocolError("NOT_ALLOWED", "not allowed: approved, approvalDecision: name the approval itself in runId");
  const planned = [plan?.argv, plan?.cwd, plan?.agentId, plan?.sessionKey];
  if (plan !== undefined && JSON.stringify(planned) !== JSON.stringify([argv, cwd, agentId, sessionKey]))
    throw new ProtocolError("INVALID_PARAMS", "invalid system.run params: command and systemRunPlan say two different things");
  const { policySnapshot: _, ...sentPlan } = plan ?? {};
  const sent = {
    command: argv,
    ...(cwd === null ? {} : { cwd }),
    ...(Object.keys(env).length === 0 ? {} : { env }),
    ...(agentId === null ? {} : { agentId }),
    ...(sessionKey === null ? {} : { sessionKey }),
    ...(plan === undefined ? {} : { systemRunPlan: sentPlan }),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  };
  if (runId === undefined) return { params: sent, approval: undefined };
  const said = { commandLine: undefined, planText: plan?.commandText, file: plan?.mutableFileOperand ?? null };
  const binding = bindingOf({ host: "node", nodeId, argv, cwd, env, agentId, sessionKey, ...said });
  // Once, however it was approved: a node that is told "always" would run it again unasked.
  return { params: { ...sent, runId, approved: true, approvalDecision: "allow-once" }, approval: { id: runId, binding } };
}

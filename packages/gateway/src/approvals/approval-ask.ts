/** A request as it came, made into the effect that is approved and what an approver is shown of it. Pure. */
import { type ApprovalDecision, approvalDecisions, type Params, ProtocolError, type ShownRequest } from "@portreeve/protocol";
import { bindingOf, type Effect, unsettableIn } from "./effect.ts";
import { shownArgv, shownText } from "./shown-text.ts";

export type ApprovalParams = Params<"exec.approval.request">;

export interface ApprovalAsk {
  readonly binding: string;
  readonly nodeId: string | null;
  readonly shown: ShownRequest;
  readonly decisions: readonly ApprovalDecision[];
}

/** @throws ProtocolError INVALID_PARAMS for a request that says two things at once or not enough, NOT_ALLOWED for a variable. */
export function toAsk(params: ApprovalParams): ApprovalAsk {
  const effect = toEffect(params);
  const decisions = approvalDecisions.filter((one) => one !== "allow-always" || mayLast(params));
  return { binding: bindingOf(effect), nodeId: effect.nodeId, shown: toShown(params, effect, decisions), decisions };
}

/** @throws ProtocolError NOT_ALLOWED */
export function assertSettable(env: Readonly<Record<string, string>>): void {
  const [name] = unsettableIn(env);
  if (name === undefined) return;
  throw new ProtocolError("NOT_ALLOWED", `not allowed: env.${shownText(name.slice(0, 100))}`, {
    remedy: "A program that is approved may be given its language, time zone and terminal. Put what it needs into its arguments.",
  });
}

function toEffect(params: ApprovalParams): Effect {
  const { systemRunPlan: plan, env = {}, host, nodeId } = params;
  assertSettable(env);
  const argv = oneOf("commandArgv", params.commandArgv, plan?.argv);
  const isNode = host === "node";
  if (isNode && (nodeId === undefined || nodeId === null || plan === undefined || plan.argv.length === 0))
    throw invalid("host 'node' needs nodeId and a systemRunPlan with argv");
  if (!isNode && nodeId !== undefined && nodeId !== null) throw invalid("nodeId needs host 'node'");
  if (argv?.length === 0 || (argv === undefined && params.command === undefined)) throw invalid("command or commandArgv is needed");
  return {
    host: host ?? "gateway",
    nodeId: nodeId ?? null,
    argv,
    commandLine: argv === undefined ? params.command : undefined,
    planText: plan?.commandText,
    cwd: oneOf("cwd", params.cwd ?? undefined, plan?.cwd ?? undefined) ?? null,
    env,
    agentId: oneOf("agentId", params.agentId ?? undefined, plan?.agentId ?? undefined) ?? null,
    sessionKey: oneOf("sessionKey", params.sessionKey ?? undefined, plan?.sessionKey ?? undefined) ?? null,
    file: plan?.mutableFileOperand ?? null,
  };
}

/** Said in two places, it has to be the same: an approver would see one and the program would get the other. */
function oneOf<T>(name: string, said: T | undefined, planned: T | undefined): T | undefined {
  if (said !== undefined && planned !== undefined && JSON.stringify(said) !== JSON.stringify(planned))
    throw invalid(`${name} and systemRunPlan say two different things`);
  return said ?? planned;
}

function mayLast({ ask, unavailableDecisions = [] }: ApprovalParams): boolean {
  return ask !== "always" && unavailableDecisions.length === 0;
}

function toShown(params: ApprovalParams, effect: Effect, decisions: readonly ApprovalDecision[]): ShownRequest {
  const { argv, commandLine = "", env, file } = effect;
  return {
    command: argv === undefined ? shownText(commandLine) : shownArgv(argv),
    commandArgv: argv?.map(shownText) ?? null,
    env: Object.keys(env).length === 0 ? null : Object.fromEntries(Object.entries(env).map(([name, value]) => [name, shownText(value)])),
    cwd: shownOrNull(effect.cwd),
    nodeId: shownOrNull(effect.nodeId),
    host: shownText(effect.host),
    security: shownOrNull(params.security),
    ask: shownOrNull(params.ask),
    warningText: shownOrNull(params.warningText),
    scope: shownDeep(params.scope ?? null),
    allowedDecisions: [...decisions],
    agentId: shownOrNull(effect.agentId),
    resolvedPath: shownOrNull(params.resolvedPath),
    sessionKey: shownOrNull(effect.sessionKey),
    sessionId: shownOrNull(params.sessionId),
    runId: shownOrNull(params.runId),
    toolCallId: shownOrNull(params.toolCallId),
    systemRunBinding: null,
    systemRunPlan: null,
    file: file === null ? null : { ...file, path: shownText(file.path), sha256: shownText(file.sha256) },
    turnSourceChannel: null,
    turnSourceTo: null,
    turnSourceAccountId: null,
    turnSourceThreadId: null,
  };
}

function shownOrNull(text: string | null | undefined): string | null {
  return text === undefined || text === null ? null : shownText(text);
}

function shownDeep(value: unknown): unknown {
  if (typeof value === "string") return shownText(value);
  if (Array.isArray(value)) return value.map(shownDeep);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [shownText(name), shownDeep(one)]));
}

function invalid(message: string): ProtocolError {
  return new ProtocolError("INVALID_PARAMS", `invalid exec.approval.request params: ${message}`);
}

/**
 * A sub-agent's life as plain calls, for a gateway without `subagents.spawn`: make its session, start its run, and take the
 * session away again when the start fails. Each call asks for its own scopes, and the start never asks for admin.
 */
import { randomUUID } from "node:crypto";
import { isRecord, ProtocolError } from "@portreeve/protocol/wire";
import { isSessionCommand, scopesOf } from "./call.ts";
import { GatewayClient } from "./client.ts";
import type { ConnectOptions, Credential } from "./connect.ts";
import { ConnectionError, mayReconnectAfter, RemoteError } from "./errors.ts";

export interface LifecycleCall {
  readonly method: "sessions.patch" | "agent" | "sessions.delete";
  readonly params: Readonly<Record<string, unknown>>;
  /** Ask for exactly these, also when empty. `undefined`: the least the method needs. */
  readonly scopes: readonly string[] | undefined;
}

/**
 * Makes one call over a connection of its own. Resolves with the first answer; rejects with RemoteError when the gateway
 * refused, with ConnectionError when there was no answer. Must never widen `scopes`.
 */
export type ConnectCall = (call: LifecycleCall) => Promise<unknown>;

export interface SpawnByCallsInput {
  readonly task: string;
  /** The session the child belongs to, and how deep that session itself is (0 for a main session). */
  readonly parent: { readonly sessionKey: string; readonly depth: number };
  readonly agentId: string;
  readonly role: "orchestrator" | "leaf";
  readonly label?: string;
  /** The run's deadline; 0 is none, absent is the gateway's default. */
  readonly runTimeoutSeconds?: number;
  /** Also makes the start happen once, when the same spawn is tried again. */
  readonly childId?: string;
  /** Replaces the scopes of every call exactly; an empty list is then refused by the gateway, not widened. */
  readonly scopes?: readonly string[];
}

export type SpawnByCallsOutcome =
  | { readonly status: "accepted"; readonly childSessionKey: string; readonly runId: string }
  | {
      readonly status: "error";
      readonly failed: LifecycleCall["method"];
      readonly childSessionKey: string;
      /**
       * Whether the child was given its task. `unknown`: no answer, also when asked again. The session is then left as it is: it
       * may be at work, and the same spawn with the same `childId` finds it, whether it is or not.
       */
      readonly task: "not-sent" | "sent" | "unknown";
      /** What is left of the child on the gateway. */
      readonly kept: "nothing" | "session" | "unknown";
      readonly error: unknown;
      /** Why the session could not be taken away again. */
      readonly cleanupError?: unknown;
    };

/** Methods of the reference gateway that only `operator.admin` may call, among those of a lifecycle. */
const adminOnlyMethods: ReadonlySet<string> = new Set(["sessions.patch", "sessions.delete"]);

/** The scopes one lifecycle call states: explicit ones exactly, admin where only admin may, else none, which means the least. Pure. */
export function lifecycleScopes(method: LifecycleCall["method"], explicit: readonly string[] | undefined): readonly string[] | undefined {
  return explicit ?? (adminOnlyMethods.has(method) ? ["operator.admin"] : undefined);
}

/**
 * Spawns a child with `sessions.patch`, `agent` and, when that fails, `sessions.delete`. An `agent` without an answer is asked
 * once more: its key makes that the same run. Does not wait for the child's end.
 */
export async function spawnByCalls(connectCall: ConnectCall, input: SpawnByCallsInput): Promise<SpawnByCallsOutcome> {
  const childId = input.childId ?? randomUUID();
  const childSessionKey = `agent:${input.agentId}:subagent:${childId}`;
  const call = (method: LifecycleCall["method"], params: LifecycleCall["params"]): Promise<unknown> =>
    connectCall({ method, params, scopes: lifecycleScopes(method, input.scopes) });
  const undo = (): Promise<unknown> => call("sessions.delete", { key: childSessionKey, deleteTranscript: true });

  // As an agent's message this would replace the session, and the least scope for that is admin.
  if (isSessionCommand(input.task)) {
    const error = new ProtocolError("INVALID_PARAMS", "a sub-agent's task must not start with /new or /reset");
    return { status: "error", failed: "agent", childSessionKey, task: "not-sent", kept: "nothing", error };
  }
  try {
    await call("sessions.patch", toSessionParams(childSessionKey, input));
  } catch (error) {
    const failure = { status: "error", failed: "sessions.patch", childSessionKey, task: "not-sent", error } as const;
    return wasNotDone(error) ? { ...failure, kept: "nothing" } : { ...failure, ...(await cleanUp(undo, "unknown")) };
  }
  const start = await askTwice(() => call("agent", toRunParams(childSessionKey, childId, input)));
  if (start.status === "accepted") return { ...start, childSessionKey };
  const failure = { ...start, failed: "agent", childSessionKey } as const;
  return start.task === "unknown" ? { ...failure, kept: "session" } : { ...failure, ...(await cleanUp(undo, "session")) };
}

type Start =
  | { readonly status: "accepted"; readonly runId: string }
  | { readonly status: "error"; readonly task: "not-sent" | "sent" | "unknown"; readonly error: unknown };

async function askTwice(ask: () => Promise<unknown>): Promise<Start> {
  const first = await toStart(ask);
  if (first.status === "accepted" || first.task !== "unknown") return first;
  const again = await toStart(ask);
  // Who does not come so far as to look at the task says nothing of the first time.
  return again.status === "error" && again.task === "not-sent" && !isVerdict(again.error) ? first : again;
}

async function toStart(ask: () => Promise<unknown>): Promise<Start> {
  try {
    return { status: "accepted", runId: runIdOf(await ask()) };
  } catch (error) {
    return { status: "error", task: fateOfTask(error), error };
  }
}

/** How `createConnectCall` reaches the gateway; the credential is decided once it has proved its key. */
export interface ConnectCallOptions extends Omit<ConnectOptions, "present"> {
  readonly credential: (gateway: { readonly gatewayKey: string | undefined }) => Credential | Promise<Credential>;
}

/** A ConnectCall over the network: a connection a call, opened with the call's scopes and closed after its first answer. */
export function createConnectCall(options: ConnectCallOptions): ConnectCall {
  return async ({ method, params, scopes }) => {
    const asked = scopesOf(method, params, scopes);
    using client = await GatewayClient.open({
      ...options,
      reconnect: false,
      present: async (gateway) => ({ scopes: asked, credential: await options.credential(gateway) }),
    });
    return await new Promise((resolve, reject) => {
      client.request(method, params, { signal: options.signal, onAccepted: resolve }).then(resolve, reject);
    });
  };
}

function toSessionParams(key: string, { parent, role, label }: SpawnByCallsInput): LifecycleCall["params"] {
  return { key, spawnedBy: parent.sessionKey, spawnDepth: parent.depth + 1, subagentRole: role, ...(label === undefined ? {} : { label }) };
}

function toRunParams(sessionKey: string, childId: string, { task, runTimeoutSeconds }: SpawnByCallsInput): LifecycleCall["params"] {
  const timeout = runTimeoutSeconds === undefined ? {} : { timeout: runTimeoutSeconds };
  // The child's result goes to its parent, never to a channel.
  return { message: task, sessionKey, deliver: false, idempotencyKey: childId, ...timeout };
}

/** The gateway took the task but did not answer as the protocol says. */
class MalformedAnswer extends Error {
  override readonly name = "MalformedAnswer";
}

function runIdOf(answer: unknown): string {
  if (isRecord(answer) && typeof answer["runId"] === "string") return answer["runId"];
  throw new MalformedAnswer("the gateway accepted the run but named no runId");
}

/** Whether the failed call certainly had no effect. */
function wasNotDone(error: unknown): boolean {
  return error instanceof RemoteError || (error instanceof ConnectionError && error.phase === "connecting");
}

/** Whether the gateway refused the call itself, and for good. */
function isVerdict(error: unknown): boolean {
  return error instanceof RemoteError && error.close === undefined && !mayReconnectAfter(error);
}

function fateOfTask(error: unknown): "not-sent" | "sent" | "unknown" {
  if (error instanceof MalformedAnswer) return "sent";
  // The one refusal that comes after the run was admitted.
  if (error instanceof RemoteError && error.code === "RUN_FAILED") return "sent";
  return wasNotDone(error) ? "not-sent" : "unknown";
}

/** Takes the session away; when that fails, what remains is `before`, or not known when nobody answered. */
async function cleanUp(
  undo: () => Promise<unknown>,
  before: "session" | "unknown",
): Promise<{ kept: "nothing" | "session" | "unknown"; cleanupError?: unknown }> {
  try {
    await undo();
    return { kept: "nothing" };
  } catch (cleanupError) {
    return { kept: wasNotDone(cleanupError) ? before : "unknown", cleanupError };
  }
}

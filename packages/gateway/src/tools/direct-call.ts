/** A tool called without a run: only one that needs none, and that a run in the same place would get. */
import type { Caller } from "@portreeve/protocol";
import type { ToolsOf } from "./agent-tools.ts";

export interface DirectCallDeps {
  readonly toolsOf: ToolsOf;
  readonly workspaceOf: (agentId: string) => string;
}

export interface DirectCall {
  readonly name: string;
  readonly args: Readonly<Record<string, unknown>>;
  /** What a run would hold that the caller started. */
  readonly authority: Parameters<ToolsOf>[0];
  readonly agentId: string;
  readonly sessionKey: string;
  /** Holds no more than a run would. */
  readonly caller: Caller;
  readonly signal: AbortSignal;
}

export type CalledDirectly =
  | { readonly kind: "unavailable" }
  | { readonly kind: "called"; readonly text: string; readonly isError: boolean; readonly details: unknown };

export async function callDirectly(deps: DirectCallDeps, call: DirectCall): Promise<CalledDirectly> {
  const { name, args, authority, agentId, sessionKey, caller, signal } = call;
  const tool = deps.toolsOf(authority, agentId).find((one) => one.name === name);
  if (tool === undefined || !tool.withoutRun) return { kind: "unavailable" };
  const {
    text,
    isError = false,
    details,
  } = await tool.execute(args, {
    caller,
    workspace: deps.workspaceOf(agentId),
    attachments: undefined,
    sessionKey,
    agentId,
    callKey: "",
    signal,
    sign: () => undefined,
    runProgram: () => Promise.reject(new Error("programs belong to runs")),
  });
  return { kind: "called", text, isError, details };
}

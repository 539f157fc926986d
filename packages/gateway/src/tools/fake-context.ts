/** For the tests of tools: a context whose caller holds every call against the contract and answers from a function. */
import { findMethod, methods, parseParams, type Caller, type MethodName, type Result } from "@portreeve/protocol";
import type { ToolContext } from "./tool.ts";

export interface RecordedCall {
  readonly name: MethodName;
  readonly params: unknown;
  readonly scopes: readonly string[] | undefined;
}

export interface FakeContext extends ToolContext {
  readonly calls: readonly RecordedCall[];
}

interface FakeInput {
  readonly workspace?: string;
  readonly attachments?: string;
  readonly callKey?: string;
  readonly signal?: AbortSignal;
  /** The result of each call, or a promise of it: what that rejects with, the call rejects with. */
  readonly answer?: (name: MethodName) => unknown;
}

export function fakeContext({ workspace = "/nowhere", attachments, callKey = "call-1", signal, answer }: FakeInput = {}): FakeContext {
  const calls: RecordedCall[] = [];
  const caller: Caller = {
    async call(name, params, options) {
      const definition = findMethod(name);
      const parsed = definition === undefined ? undefined : parseParams(name, definition, params);
      if (parsed?.ok !== true) throw new TypeError(`the gateway would refuse this call: ${parsed?.message ?? name}`);
      calls.push({ name, params: parsed.params, scopes: options?.scopes });
      // The schema was picked by `name`, which the type system does not follow.
      return methods[name].result.parse(await answer?.(name)) as Result<typeof name>;
    },
  };
  return {
    caller,
    workspace,
    attachments,
    callKey,
    sessionKey: "agent:main:main",
    agentId: "main",
    signal: signal ?? new AbortController().signal,
    sign: () => undefined,
    runProgram: () => Promise.reject(new Error("no programs here")),
    calls,
  };
}

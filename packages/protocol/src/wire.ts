/** The entry without zod, for clients: frames, limits, errors, scopes and the generated method table. */
export * from "./errors.ts";
export * from "./frames.ts";
export * from "./limits.ts";
export { scopeToInvokeNode, scopesToApproveNode } from "./node-commands.ts";
export * from "./scopes.ts";
export * from "./session-key.ts";
export * from "./setup-code.ts";
export { Speech } from "./speech.ts";
export { authenticationWords, wordList, type WordFacts } from "./words.ts";
export { methodTable } from "./method-table.ts";
export type { MethodTableEntry } from "./method-table.ts";
export type { PendingApproval } from "./approvals.ts";
export type { RunRow } from "./runs.ts";
export type { Accepted, Caller, CallOptions, EventName, EventPayload, MethodName, Params, ParamsInput, Result } from "./index.ts";

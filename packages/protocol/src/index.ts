/** The contract: every method and event of the gateway, and the types that follow from them. */
import type { z } from "zod";
import { agentEvents, agentMethods } from "./agents.ts";
import { approvalEvents, approvalMethods } from "./approvals.ts";
import { auditMethods } from "./audit.ts";
import { chatEvents, chatMethods } from "./chat.ts";
import { commandMethods } from "./commands.ts";
import { configEvents, configMethods } from "./config.ts";
import { connectEvents, connectMethods } from "./connect.ts";
import { cronEvents, cronMethods } from "./cron.ts";
import type { EventDefinition, MethodDefinition } from "./define.ts";
import { deviceEvents, deviceMethods } from "./devices.ts";
import type { ProtocolVersion } from "./errors.ts";
import { healthEvents, healthMethods } from "./health.ts";
import { nodeEvents, nodeMethods } from "./nodes.ts";
import { identityMethods } from "./identity.ts";
import { modelMethods } from "./models.ts";
import { runMethods } from "./runs.ts";
import { sessionEvents } from "./session-events.ts";
import { sessionMethods } from "./sessions.ts";
import { sessionViewMethods } from "./session-views.ts";
import { setupEvents, setupMethods } from "./setup.ts";
import { subagentMethods } from "./subagents.ts";
import { taskMethods } from "./tasks.ts";
import { toolInvocationMethods } from "./tool-invocation.ts";
import { toolMethods } from "./tools.ts";
import { systemEvents, systemMethods } from "./system.ts";
import { usageMethods } from "./usage.ts";

export const methods = {
  ...connectMethods,
  ...healthMethods,
  ...systemMethods,
  ...configMethods,
  ...agentMethods,
  ...identityMethods,
  ...modelMethods,
  ...toolMethods,
  ...toolInvocationMethods,
  ...sessionMethods,
  ...sessionViewMethods,
  ...chatMethods,
  ...commandMethods,
  ...subagentMethods,
  ...runMethods,
  ...taskMethods,
  ...deviceMethods,
  ...setupMethods,
  ...auditMethods,
  ...nodeMethods,
  ...approvalMethods,
  ...usageMethods,
  ...cronMethods,
};

export const events = {
  ...connectEvents,
  ...healthEvents,
  ...systemEvents,
  ...configEvents,
  ...agentEvents,
  ...sessionEvents,
  ...chatEvents,
  ...deviceEvents,
  ...setupEvents,
  ...nodeEvents,
  ...approvalEvents,
  ...cronEvents,
};

export type MethodName = keyof typeof methods;
export type EventName = keyof typeof events;

/** What a handler gets: parsed parameters. */
export type Params<N extends MethodName> = z.output<(typeof methods)[N]["params"]>;
/** What a caller passes. */
export type ParamsInput<N extends MethodName> = z.input<(typeof methods)[N]["params"]>;
export type Result<N extends MethodName> = z.output<(typeof methods)[N]["result"]>;
/** The first of two answers; `undefined` for a method that gives one. */
export type Accepted<N extends MethodName> = (typeof methods)[N]["accepted"] extends infer A
  ? A extends z.ZodType
    ? z.output<A>
    : undefined
  : never;
export type EventPayload<N extends EventName> = z.output<(typeof events)[N]["payload"]>;

export interface CallOptions<N extends MethodName> {
  /** Exactly these scopes, also when empty; absent: the least the method needs. A caller in process ignores nothing: they narrow. */
  readonly scopes?: readonly string[];
  readonly signal?: AbortSignal;
  /** Receives the first answer of a method that gives two. */
  readonly onAccepted?: (accepted: Accepted<N>) => void;
}

/** One interface for every caller: the socket client, and the gateway's own tools with a principal behind it. */
export interface Caller {
  /** Resolves with the final result; rejects with a ProtocolError, or, over a network, with the error of a connection that gave no answer. */
  call<N extends MethodName>(name: N, params: ParamsInput<N>, options?: CallOptions<N>): Promise<Result<N>>;
}

/** The definition under `name` if `version` has it, or undefined: own properties only, never a prototype's. Calls from inside are of version 4. */
export function findMethod(name: string, version: ProtocolVersion = 4): MethodDefinition | undefined {
  if (!isMethodName(name)) return undefined;
  const definition: MethodDefinition = (methods as unknown as Record<MethodName, MethodDefinition>)[name];
  return definition.versions.includes(version) ? definition : undefined;
}

/** What a hello of `version` lists. */
export function listMethods(version: ProtocolVersion): readonly string[] {
  return Object.keys(methods).filter((name) => findMethod(name, version)?.hidden === false);
}

export function isMethodName(name: string): name is MethodName {
  return Object.hasOwn(methods, name);
}

/** Every event definition by name; for subscriptions and the contract. */
export const eventDefinitions: Readonly<Record<EventName, EventDefinition>> = events;

export * from "./define.ts";
export * from "./errors.ts";
export * from "./frames.ts";
export * from "./json-depth.ts";
export * from "./limits.ts";
export * from "./params.ts";
export * from "./scopes.ts";
export { connectParams, clientIds, clientModes, helloOk } from "./connect.ts";
export type { ConnectParams, HelloOk } from "./connect.ts";
export type { AgentEvent } from "./agents.ts";
export { approvalDecisions, systemRunParams } from "./approvals.ts";
export type { ApprovalDecision, PendingApproval, ShownRequest } from "./approvals.ts";
export type { AuditRow, ExplainedStep } from "./audit.ts";
export type { ChatErrorKind, ChatEvent } from "./chat.ts";
export { cronDelivery, cronJobSpec, cronPayload } from "./cron.ts";
export type { CronJob, CronJobSpec, CronRunEntry, CronSchedule } from "./cron.ts";
export type { PairedDevice, PairingRequest } from "./devices.ts";
export { attachmentFolder, deliveryAddresses } from "./subagents.ts";
export type { SetupAccess } from "./setup.ts";
export { maxCaps, maxCommands } from "./nodes.ts";
export * from "./node-commands.ts";
export type { NodeRequest, NodeRow, PairedNode } from "./nodes.ts";
export type { Health } from "./health.ts";
export type { ModelChoice } from "./models.ts";
export type { PresenceEntry } from "./system.ts";
export type { RunRow } from "./runs.ts";
export type { Task, TaskStatus } from "./tasks.ts";
export { runSeconds, thinkingLevels } from "./shapes.ts";
export type { ContentBlock, Message, RunStatus, SessionRow, ThinkingLevel, Usage } from "./shapes.ts";
export * from "./session-key.ts";
export * from "./setup-code.ts";
export { Speech } from "./speech.ts";
export * from "./silence.ts";
export { authenticationWords, wordList, type WordFacts } from "./words.ts";

/** Every method's handler: that none is missing, and none is there twice under another shape, is the type's to say. */
import type { Handlers } from "../dispatch/types.ts";
import { agentHandlers } from "./agents.ts";
import type { Approvals } from "../approvals/approvals.ts";
import { approvalHandlers } from "./approvals.ts";
import { type AuditHandlerDeps, auditHandlers } from "./audit.ts";
import { chatHandlers } from "./chat.ts";
import { commandHandlers, createCommands } from "./commands.ts";
import { type ConfigHandlerDeps, configHandlers } from "./config.ts";
import { connectHandlers } from "./connect.ts";
import { type CronHandlerDeps, cronHandlers } from "./cron.ts";
import type { CatalogueDeps, HandlerDeps } from "./deps.ts";
import { type DeviceHandlerDeps, deviceHandlers } from "./devices.ts";
import { healthHandlers } from "./health.ts";
import { identityHandlers } from "./identity.ts";
import { messageHandlers } from "./messages.ts";
import { modelHandlers } from "./models.ts";
import { nodeHandlers, type NodeHandlerDeps } from "./nodes.ts";
import { runHandlers } from "./runs.ts";
import { sessionMakingHandlers } from "./session-making.ts";
import { sessionViewHandlers } from "./session-views.ts";
import { sessionHandlers } from "./sessions.ts";
import { setupHandlers, type SetupHandlerDeps } from "./setup.ts";
import { startupHandlers } from "./startup.ts";
import { subagentHandlers } from "./subagents.ts";
import { taskHandlers } from "./tasks.ts";
import { toolInvocationHandlers } from "./tool-invocation.ts";
import { toolHandlers } from "./tools.ts";
import { systemHandlers, type SystemHandlerDeps } from "./system.ts";
import { usageHandlers } from "./usage.ts";

export interface HandlerParts {
  readonly shared: HandlerDeps;
  readonly catalogue: CatalogueDeps;
  readonly devices: DeviceHandlerDeps;
  readonly nodes: NodeHandlerDeps;
  readonly approvals: Approvals;
  readonly setup: SetupHandlerDeps;
  readonly audit: AuditHandlerDeps;
  readonly system: SystemHandlerDeps;
  readonly cron: CronHandlerDeps;
  readonly config: ConfigHandlerDeps;
}

export function createHandlers(parts: HandlerParts): Handlers {
  const { shared, catalogue, devices, nodes, approvals, setup, audit, system, cron, config } = parts;
  const commands = createCommands(shared);
  return {
    ...connectHandlers(),
    ...healthHandlers(shared),
    ...systemHandlers(system),
    ...configHandlers(config),
    ...agentHandlers(shared, commands),
    ...identityHandlers(catalogue),
    ...modelHandlers(catalogue),
    ...toolHandlers(catalogue),
    ...toolInvocationHandlers(catalogue),
    ...sessionHandlers(shared),
    ...sessionMakingHandlers(shared),
    ...sessionViewHandlers(shared),
    ...chatHandlers(shared, commands),
    ...startupHandlers(catalogue),
    ...commandHandlers(),
    ...messageHandlers(shared),
    ...subagentHandlers(shared),
    ...runHandlers(shared),
    ...taskHandlers(shared),
    ...deviceHandlers(devices),
    ...nodeHandlers(nodes),
    ...approvalHandlers({ approvals }),
    ...setupHandlers(setup),
    ...auditHandlers(audit),
    ...usageHandlers(shared),
    ...cronHandlers(cron),
  };
}

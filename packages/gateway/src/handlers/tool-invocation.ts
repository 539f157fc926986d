/** One tool, called without a run by whoever could start one. */
import { mainSessionKey, ProtocolError } from "@portreeve/protocol";
import type { Handlers } from "../dispatch/types.ts";
import { authorityToStart, narrowed, runScopes, withinSession } from "../principal/principal.ts";
import { type CatalogueDeps, resolveSession } from "./deps.ts";

export function toolInvocationHandlers(deps: CatalogueDeps): Pick<Handlers, "tools.invoke"> {
  return {
    "tools.invoke": async ({ principal, signal }, { name, args = {}, ...place }) => {
      const asked = place.sessionKey ?? mainSessionKey(place.agentId ?? deps.agents.defaultAgentId);
      const { key: sessionKey, agentId } = resolveSession(deps.agents, asked, place.agentId);
      const session = await deps.store.sessions.find(sessionKey);
      // As a run that the caller starts there, and never the owner's: a tool that looks needs no more.
      const acting = narrowed(principal, runScopes);
      const start = authorityToStart(acting);
      const authority = withinSession({ ...start, depth: Math.max(start.depth, session?.depth ?? 0) }, session?.limits ?? {});
      const called = await deps.callTool({ name, args, authority, agentId, sessionKey, caller: deps.callerFor(acting), signal });
      if (called.kind === "unavailable")
        throw new ProtocolError("UNKNOWN_TOOL", `Tool not available: ${name}`, {
          remedy: "see which the agent has: tools.effective; one that does more than look is called by a run",
        });
      const { text, isError, details } = called;
      if (isError) return { ok: false, toolName: name, source: "core", error: { code: "tool_error", message: text } };
      return { ok: true, toolName: name, source: "core", output: { content: [{ type: "text", text }], details } };
    },
  };
}

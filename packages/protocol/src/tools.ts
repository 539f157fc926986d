/** Tools: all there are, and those a run in a session would get. */
import { z } from "zod";
import { method } from "./define.ts";
import { agentId, sessionKey } from "./shapes.ts";

const source = z.literal("core");
const shownTool = { id: z.string(), label: z.string(), description: z.string(), source };
const profile = z.literal("full");

export const toolMethods = {
  "tools.catalog": method({
    summary: "Every tool of the gateway, whatever an agent's policy says of it.",
    scope: "operator.read",
    kind: "query",
    callers: ["operator"],
    params: () => z.strictObject({ agentId: agentId.optional() }),
    ignored: ["includePlugins"],
    result: () =>
      z.object({
        agentId: z.string(),
        profiles: z.array(z.object({ id: profile, label: z.string() })),
        groups: z.array(
          z.object({
            id: z.string(),
            label: z.string(),
            source,
            tools: z.array(z.object({ ...shownTool, defaultProfiles: z.array(profile) })),
          }),
        ),
      }),
  }),
  "tools.effective": method({
    summary: "The tools that a run would get which the caller started in the session now.",
    scope: "operator.read",
    kind: "query",
    callers: ["operator"],
    params: () => z.strictObject({ sessionKey, agentId: agentId.optional() }),
    result: () =>
      z.object({
        agentId: z.string(),
        profile: z.string(),
        groups: z.array(
          z.object({ id: source, label: z.string(), source, tools: z.array(z.object({ ...shownTool, rawDescription: z.string() })) }),
        ),
      }),
  }),
};

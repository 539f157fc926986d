/** Models: what the configuration names, and what could be used. */
import { z } from "zod";
import { method } from "./define.ts";
import { agentId, nonEmpty, timeMs } from "./shapes.ts";

/** `provider` and `id` are the two halves of `provider/name`. */
export const modelChoice = z.object({
  id: z.string(),
  name: z.string(),
  provider: z.string(),
  tags: z.array(z.string()).optional(),
  available: z.boolean(),
  unavailableReason: z.enum(["missing-auth", "cooldown"]).optional(),
  unavailableUntil: timeMs.optional(),
  contextWindow: z.number().int(),
  input: z.array(z.literal("text")),
});

export type ModelChoice = z.infer<typeof modelChoice>;

export const modelMethods = {
  "models.list": method({
    summary: "The models that agents are configured to use; with the view `all` also what their providers would offer by default.",
    scope: "operator.read",
    kind: "query",
    callers: ["operator"],
    params: () =>
      z.strictObject({
        /** Only what this agent uses, its stand-ins included. */
        agentId: agentId.optional(),
        provider: nonEmpty.optional(),
        view: z.enum(["default", "configured", "provider-config", "all"]).optional(),
      }),
    // What each row holds is the same with and without them, and a catalogue that is never fetched has nothing to refresh.
    ignored: [
      "sessionKey",
      "authProfileId",
      "includeDetails",
      "includeProviderCapabilities",
      "includeDefaultModels",
      "preparedOnly",
      "refresh",
    ],
    result: () => z.object({ models: z.array(modelChoice) }),
  }),
};

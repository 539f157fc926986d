/** The slash commands that `chat.send` and `agent` answer themselves. */
import { z } from "zod";
import { method } from "./define.ts";

export const commandEntry = z.object({
  name: z.string(),
  textAliases: z.array(z.string()),
  description: z.string(),
  category: z.string(),
  source: z.string(),
  scope: z.string(),
  acceptsArgs: z.boolean(),
  args: z
    .array(
      z.object({
        name: z.string(),
        description: z.string(),
        type: z.string(),
        choices: z.array(z.object({ value: z.string(), label: z.string() })).optional(),
        required: z.boolean().optional(),
      }),
    )
    .optional(),
});

export const commandMethods = {
  "commands.list": method({
    summary: "The slash commands that are answered without a model, for clients that offer them as a person types.",
    scope: "operator.read",
    kind: "query",
    callers: ["operator"],
    params: () => z.strictObject({ scope: z.enum(["text", "native", "both"]).optional(), includeArgs: z.boolean().optional() }),
    // All of them are there in every session, for every agent and provider.
    ignored: ["sessionKey", "agentId", "provider"],
    result: () =>
      z.object({
        commands: z.array(commandEntry),
      }),
  }),
};

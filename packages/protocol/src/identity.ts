/** Who answers: an agent's name, and the gateway's own key. */
import { z } from "zod";
import { method } from "./define.ts";
import { agentId } from "./shapes.ts";

export const identityMethods = {
  "agent.identity.get": method({
    summary: "What an agent is called.",
    scope: "operator.read",
    kind: "query",
    callers: ["operator"],
    /** Without either: the default agent. Clients send an empty key for none. */
    params: () => z.strictObject({ agentId: agentId.optional(), sessionKey: z.string().max(512).optional() }),
    result: () => z.object({ agentId: z.string(), name: z.string(), nameSource: z.literal("default") }),
  }),
  "gateway.identity.get": method({
    summary: "The gateway's public key, and its id, which is the key's SHA-256.",
    scope: "operator.read",
    kind: "query",
    callers: ["operator"],
    params: () => z.strictObject({}),
    result: () => z.object({ deviceId: z.string(), publicKey: z.string() }),
  }),
};

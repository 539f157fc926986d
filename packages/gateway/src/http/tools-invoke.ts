/** `POST /tools/invoke`: one tool of an agent, called without a run. */
import { z } from "zod";
import { notSupported, parseBody, type BodyShape } from "./body.ts";
import { channelHeaders } from "./openai-session.ts";
import type { RouteHandler } from "./route-handler.ts";

const text = z.string().min(1);
const fields = z.strictObject({
  tool: text.optional(),
  name: text.optional(),
  args: z.record(z.string(), z.unknown()).nullish(),
  sessionKey: text.nullish(),
  agentId: text.nullish(),
});
/** An action is an argument of tools that have several, of which none is called without a run. */
const shape: BodyShape<typeof fields> = { fields, ignored: ["action", "confirm", "idempotencyKey"], unsupported: ["dryRun"] };

export const toolsInvoke: RouteHandler<"/tools/invoke"> = async ({ body, headers }, call) => {
  for (const name of channelHeaders) if (headers[name] !== undefined) throw notSupported(name);
  const { tool, name = tool, args, sessionKey, agentId } = parseBody(body, shape).value;
  const place = { ...(sessionKey ? { sessionKey } : {}), ...(agentId ? { agentId } : {}) };
  const { ok, output, error } = await call({ name: name ?? "", args: args ?? {}, ...place });
  if (ok) return { status: 200, body: { ok, result: output } };
  return { status: 400, body: { ok, error: { type: error?.code, message: error?.message } } };
};

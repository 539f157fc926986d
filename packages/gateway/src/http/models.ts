/** `GET /v1/models`: the agents, as clients of OpenAI's API list models: `openclaw`, `openclaw/default`, `openclaw/<agentId>`. */
import type { Result } from "@portreeve/protocol";
import type { WholeAnswer } from "./answer.ts";
import type { RouteHandler } from "./route-handler.ts";

export const listModels: RouteHandler<"/v1/models"> = async (_ask, call) => ({
  status: 200,
  body: { object: "list", data: toIds(await call({})).map(toModel) },
});

export const getModel: RouteHandler<"/v1/models/{id}"> = async ({ places }, call) => toAnswer(await call({}), places["id"] ?? "");

/** An id has a slash, which clients write as it is. */
export const getPrefixedModel: RouteHandler<"/v1/models/{prefix}/{id}"> = async ({ places }, call) =>
  toAnswer(await call({}), `${places["prefix"] ?? ""}/${places["id"] ?? ""}`);

function toAnswer(agents: Result<"agents.list">, id: string): WholeAnswer {
  if (toIds(agents).includes(id)) return { status: 200, body: toModel(id) };
  const error = { message: "Invalid model id.", type: "invalid_request_error", remediationHint: "See which there are: GET /v1/models" };
  return { status: 404, body: { error } };
}

function toIds({ agents }: Result<"agents.list">): readonly string[] {
  return ["openclaw", "openclaw/default", ...agents.map(({ id }) => `openclaw/${id}`)];
}

/** An agent is configured and not created, so its time says nothing. */
function toModel(id: string) {
  return { id, object: "model", created: 0, owned_by: "portreeve" };
}

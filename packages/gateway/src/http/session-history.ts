/** `GET /sessions/{key}/history`: a page of a session's messages, the newest first page, each page oldest first. */
import type { RouteHandler } from "./route-handler.ts";

export const sessionHistory: RouteHandler<"/sessions/{key}/history"> = async ({ places, query }, call) => {
  const offset = readCount(query.get("cursor")) ?? 0;
  const limit = readCount(query.get("limit"));
  const history = await call({ sessionKey: places["key"] ?? "", offset, ...(limit === undefined ? {} : { limit }) });
  const { sessionKey, messages, hasMore } = history;
  // Clients read the page under either name.
  const page = { sessionKey, items: messages, messages, hasMore };
  return { status: 200, body: { ...page, ...(hasMore ? { nextCursor: String(offset + messages.length) } : {}) } };
};

/** Whatever is no number is left to the method's own schema to refuse. */
function readCount(text: string | null): number | undefined {
  return text === null ? undefined : /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
}

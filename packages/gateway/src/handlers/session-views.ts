/** Reading sessions one by one: which is meant, how it stands, what was said. */
import { type Params, ProtocolError, type Result, type SessionRow, toSessionKey } from "@portreeve/protocol";
import type { Handlers } from "../dispatch/types.ts";
import type { SessionRecord } from "../store/store.ts";
import { type HandlerDeps, resolveSession, toSessionRow } from "./deps.ts";
import { readHistory, toExcerpt } from "./history.ts";

const previewedAtOnce = 64;
const previewItems = 12;
const mostPreviewItems = 50;
const previewChars = 240;
const titleChars = 60;

type Methods =
  | "sessions.describe"
  | "sessions.preview"
  | "sessions.resolve"
  | "sessions.get"
  | "sessions.messages.subscribe"
  | "sessions.messages.unsubscribe";
type Preview = Result<"sessions.preview">["previews"][number];

export function sessionViewHandlers(deps: HandlerDeps): Pick<Handlers, Methods> {
  return {
    "sessions.describe": async (_context, params) => {
      const { key } = resolveSession(deps.agents, params.key, params.agentId);
      const session = await deps.store.sessions.find(key);
      const [row = null] = session === undefined ? [] : await toRows(deps, [session], params);
      return { session: row };
    },

    "sessions.preview": async (_context, { keys, limit = previewItems, maxChars = previewChars }) => {
      const page = { limit: Math.min(limit, mostPreviewItems), maxChars };
      const previews = await Promise.all(keys.slice(0, previewedAtOnce).map((key) => preview(deps, key, page)));
      return { ts: deps.now(), previews };
    },

    "sessions.resolve": (_context, params) => resolve(deps, params),

    "sessions.get": async (context, { key, sessionKey = key, agentId, limit }) => {
      if (sessionKey === undefined)
        throw new ProtocolError("INVALID_PARAMS", "invalid sessions.get params: at root: must have required property 'key'");
      const { page } = await readHistory(deps, context, {
        sessionKey,
        ...(agentId === undefined ? {} : { agentId }),
        ...(limit === undefined ? {} : { limit }),
      });
      return { messages: page.messages };
    },

    "sessions.messages.subscribe": async ({ connection }, params) => {
      const { key } = resolveSession(deps.agents, params.key, params.agentId);
      if (connection?.setMessagesSubscription(key, true) === false)
        throw new ProtocolError("TOO_MANY_SUBSCRIPTIONS", "this connection listens to as many sessions as it may", {
          remedy: "unsubscribe from sessions that nobody looks at, or subscribe to all with sessions.subscribe",
        });
      return { subscribed: true, key };
    },

    "sessions.messages.unsubscribe": async ({ connection }, params) => {
      const { key } = resolveSession(deps.agents, params.key, params.agentId);
      connection?.setMessagesSubscription(key, false);
      return { subscribed: false, key };
    },
  };
}

/** Rows as lists show them, with what was said first and last where that is asked for. */
export async function toRows(
  deps: Pick<HandlerDeps, "store" | "agents">,
  sessions: readonly SessionRecord[],
  {
    includeDerivedTitles = false,
    includeLastMessage = false,
  }: Pick<Params<"sessions.describe">, "includeDerivedTitles" | "includeLastMessage">,
): Promise<SessionRow[]> {
  const rows = sessions.map((session) => toSessionRow(deps.agents, session));
  if (!includeDerivedTitles && !includeLastMessage) return rows;
  const ends = await deps.store.sessions.ends(rows.map(({ key }) => key));
  return rows.map((row) => {
    const said = ends.get(row.key);
    if (said === undefined) return row;
    const [title, last] = [toExcerpt(said.first, titleChars), toExcerpt(said.last, previewChars)];
    return {
      ...row,
      ...(includeDerivedTitles && title !== "" ? { derivedTitle: title } : {}),
      ...(includeLastMessage && last !== "" ? { lastMessagePreview: last } : {}),
    };
  });
}

async function preview(deps: HandlerDeps, raw: string, { limit, maxChars }: { limit: number; maxChars: number }): Promise<Preview> {
  const key = findKey(deps, raw);
  if (key === undefined) return { key: raw, status: "error", items: [] };
  if ((await deps.store.sessions.find(key)) === undefined) return { key: raw, status: "missing", items: [] };
  const { messages } = await deps.store.sessions.listMessages(key, { limit, offset: 0 });
  const items = messages.map((message) => ({ role: message.role, text: toExcerpt(message, maxChars) })).filter(({ text }) => text !== "");
  return { key: raw, status: items.length === 0 ? "empty" : "ok", items };
}

/** Undefined for what is no key of a configured agent. */
function findKey({ agents }: Pick<HandlerDeps, "agents">, raw: string): string | undefined {
  try {
    return resolveSession(agents, raw, undefined).key;
  } catch (error) {
    if (error instanceof ProtocolError) return undefined;
    throw error;
  }
}

/** @throws ProtocolError UNKNOWN_SESSION when there is none, unless that is an answer too. */
async function resolve(deps: HandlerDeps, params: Params<"sessions.resolve">): Promise<Result<"sessions.resolve">> {
  const asked = [params.key, params.sessionId, params.label].filter((one) => one !== undefined);
  const [wanted] = asked;
  if (wanted === undefined || asked.length > 1)
    throw new ProtocolError("INVALID_PARAMS", "invalid sessions.resolve params: needs exactly one of key, sessionId and label");
  const found = await find(deps, params);
  const fitting = found.filter((session) => isWanted(deps, session, params));
  const [session, another] = fitting;
  if (another !== undefined)
    throw new ProtocolError("AMBIGUOUS_SESSION", `${fitting.length} sessions have the label ${JSON.stringify(wanted)}`, {
      details: { keys: fitting.map(({ key }) => key) },
      remedy: "name the session by its key",
    });
  if (session !== undefined) return { ok: true, key: session.key, agentId: session.agentId, displayName: session.label ?? session.key };
  if (params.allowMissing === true) return { ok: false };
  throw new ProtocolError("UNKNOWN_SESSION", `No session found: ${wanted}`);
}

async function find(deps: HandlerDeps, { key, sessionId, label, agentId }: Params<"sessions.resolve">): Promise<readonly SessionRecord[]> {
  if (key !== undefined) return toList(await deps.store.sessions.find(resolveSession(deps.agents, key, agentId).key));
  if (sessionId !== undefined) return toList(await deps.store.sessions.findById(sessionId));
  return (await deps.store.sessions.list({ label, limit: mostPreviewItems, offset: 0, archived: "all" })).sessions;
}

function isWanted(deps: HandlerDeps, session: SessionRecord, { agentId, spawnedBy }: Params<"sessions.resolve">): boolean {
  if (agentId !== undefined && session.agentId !== agentId) return false;
  return spawnedBy === undefined || session.parentKey === toSessionKey(spawnedBy, deps.agents.defaultAgentId);
}

function toList(session: SessionRecord | undefined): readonly SessionRecord[] {
  return session === undefined ? [] : [session];
}

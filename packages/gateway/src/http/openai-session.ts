/** Which agent and session a request of OpenAI's API means: its `model`, its headers, its `user`. Pure. */
import { createHash } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import { invalid, notSupported } from "./body.ts";

export interface Meant {
  /** Undefined: the session's, or the default one. */
  readonly agentId: string | undefined;
  readonly sessionKey: string;
  /** The session is one of the caller's choice, with what was said in it before. */
  readonly isNamed: boolean;
}

export interface Naming {
  readonly model: string;
  readonly session_id?: string | null | undefined;
  readonly user?: string | null | undefined;
}

/** They say which channel a message came by, of which there are none. */
export const channelHeaders = ["x-openclaw-message-channel", "x-openclaw-account-id"] as const;

/** `newName`: of a session for this request alone. @throws ProtocolError INVALID_PARAMS, NOT_SUPPORTED */
export function findMeant(body: Naming, headers: IncomingHttpHeaders, newName: string): Meant {
  for (const name of ["x-openclaw-model", ...channelHeaders]) {
    if (read(headers, name) !== undefined) throw notSupported(name);
  }
  const agentId = findAgent(body.model, read(headers, "x-openclaw-agent-id"));
  const named = read(headers, "x-openclaw-session-key") ?? given(body.session_id) ?? nameOfUser(given(body.user));
  return { agentId, sessionKey: named ?? newName, isNamed: named !== undefined };
}

function findAgent(model: string, header: string | undefined): string | undefined {
  const [, id] = /^openclaw(?:\/(.+))?$/.exec(model) ?? [undefined, null];
  if (id === null) throw invalid("model", "Invalid `model`. Use `openclaw` or `openclaw/<agentId>`.");
  const named = id === "default" ? undefined : id;
  if (named !== undefined && header !== undefined && named !== header)
    throw invalid("model", "`model` and the header x-openclaw-agent-id name two agents.");
  return named ?? header;
}

/** The name of a session for one request alone: the same again is in the same one. */
export function nameForOne(uuid: string, repeatKey: string | undefined): string {
  return `openai:${repeatKey === undefined ? uuid : digest(repeatKey)}`;
}

function nameOfUser(user: string | undefined): string | undefined {
  return user === undefined ? undefined : `openai-user:${digest(user)}`;
}

/** Session keys are in lower case: two names that differ in it only must not meet in one session. */
function digest(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 32);
}

function read(headers: IncomingHttpHeaders, name: string): string | undefined {
  return given([headers[name] ?? []].flat()[0]);
}

function given(text: string | null | undefined): string | undefined {
  return text === null || text === "" ? undefined : text;
}

/** What may be done to sub-agents, and by whom: a session's own run acts on what that session delegated, and on nothing else. */
import { mainSessionKey, ProtocolError, toSessionKey } from "@portreeve/protocol";
import { toPlainLine } from "../kit/quoted-text.ts";
import { type Principal, treeOf } from "../principal/principal.ts";
import type { RunView } from "../store/run-views.ts";
import type { Store } from "../store/store.ts";
import { findMeant, type Named } from "./handles.ts";

export interface ControlDeps {
  readonly store: Pick<Store, "sessions" | "runViews">;
  readonly defaultAgentId: string;
}

/** How far back a sub-agent is found by a name; by its id it always is. */
const reach = 1_000;

/** The session whose sub-agents `principal` asks about. @throws ProtocolError NOT_ALLOWED for a run that names one. */
export function sessionOf(principal: Principal, asked: string | undefined, defaultAgentId: string): string {
  if (principal.kind !== "run") return asked === undefined ? mainSessionKey(defaultAgentId) : toSessionKey(asked, defaultAgentId);
  if (asked !== undefined) throw new ProtocolError("NOT_ALLOWED", "not allowed: sessionKey (a run acts for its own session)");
  return principal.sessionKey;
}

/** The newest run of the sub-agent below `sessionKey` that `handle` means. @throws ProtocolError with what it is instead. */
export async function getSubagent(
  deps: ControlDeps,
  { principal, sessionKey }: { principal: Principal; sessionKey: string },
  handle: string,
): Promise<RunView> {
  const numbered = /^#([1-9]\d{0,8})$/.exec(handle)?.[1];
  const named = numbered === undefined ? handle : await getNumbered(deps, sessionKey, Number(numbered));
  const exact = await deps.store.runViews.findBelow(sessionKey, named);
  if (exact !== undefined) return exact;
  const below = await deps.store.runViews.listBelow(sessionKey, { depth: "all", limit: reach });
  const meant = findMeant(below.map(toNamed), handle);
  switch (meant.kind) {
    case "one":
      return meant.one.view;
    case "several":
      throw new ProtocolError("AMBIGUOUS_SUBAGENT", `${meant.candidates.length} sub-agents are called ${JSON.stringify(handle)}`, {
        details: { candidates: meant.candidates.map(({ runId, sessionKey: key, label }) => ({ runId, childSessionKey: key, label })) },
        remedy: `name one by its run id: ${meant.candidates.map(({ runId, taskName, label }) => `${runId} (${toPlainLine(taskName ?? label ?? "no name")})`).join(", ")}`,
      });
    case "none":
      throw await toRefusal(deps, { principal, sessionKey }, handle);
  }
}

/** The key of the session's sub-agent with that number. A label that looks like one is no handle. */
async function getNumbered({ store }: ControlDeps, sessionKey: string, number: number): Promise<string> {
  const subagents = await store.runViews.listSubagents(sessionKey);
  const key = subagents[number - 1];
  if (key !== undefined) return key;
  throw new ProtocolError("UNKNOWN_SUBAGENT", `${sessionKey} has no sub-agent #${number}: there have been ${subagents.length}`, {
    remedy: "list them: each is shown with its number",
  });
}

/** What is not below the session may still be there to be seen: then the caller hears why it is not for it. */
async function toRefusal(
  deps: ControlDeps,
  { principal, sessionKey }: { principal: Principal; sessionKey: string },
  handle: string,
): Promise<ProtocolError> {
  const view = { rootKey: treeOf(principal) };
  const run = await deps.store.runViews.find(handle, view);
  const session = await deps.store.sessions.find(run?.run.sessionKey ?? handle, view);
  const key = run?.run.sessionKey ?? session?.key;
  if (key === undefined) {
    return new ProtocolError("UNKNOWN_SUBAGENT", `no sub-agent of ${sessionKey} is called ${JSON.stringify(handle)}`, {
      remedy: "list them: their run ids, session keys, task names and labels are what they are called by",
    });
  }
  const above = await listAbove(deps, sessionKey);
  const relation = key === sessionKey ? "self" : above.includes(key) ? "ancestor" : "other";
  const why: Readonly<Record<typeof relation, string>> = {
    self: "that is this session itself",
    ancestor: "that is above this session: whoever delegates decides, not who was asked",
    other: "that is not below this session",
  };
  return new ProtocolError("NOT_DESCENDANT", `${JSON.stringify(handle)} is no sub-agent of ${sessionKey}: ${why[relation]}`, {
    details: { relation },
    remedy: "act on what this session delegated; for anything else ask the person who may",
  });
}

async function listAbove(deps: ControlDeps, sessionKey: string): Promise<readonly string[]> {
  const above: string[] = [];
  let next = (await deps.store.sessions.find(sessionKey))?.parentKey;
  while (next !== undefined && !above.includes(next)) {
    above.push(next);
    next = (await deps.store.sessions.find(next))?.parentKey;
  }
  return above;
}

function toNamed(view: RunView): Named & { readonly view: RunView } {
  const { runId, sessionKey, terms, label, endedAtMs } = view.run;
  return { runId, sessionKey, taskName: terms.taskName, label, hasEnded: endedAtMs !== undefined, view };
}

/** Who is here and what the log says; and, truthfully, that there are no heartbeats and no channels. */
import { basename } from "node:path";
import { covers } from "@portreeve/protocol";
import type { Handlers, PresenceBoard } from "../dispatch/types.ts";
import { tailLog } from "../kit/log-file.ts";

export interface SystemHandlerDeps {
  readonly now: () => number;
  readonly presence: () => PresenceBoard;
  readonly logFile: string;
}

export function systemHandlers(
  deps: SystemHandlerDeps,
): Pick<Handlers, "system-presence" | "system-event" | "last-heartbeat" | "channels.status" | "logs.tail"> {
  return {
    "system-presence": () => Promise.resolve([...deps.presence().list()]),
    "system-event": ({ principal }, note) => {
      deps.presence().say(principal, note);
      return Promise.resolve({ ok: true });
    },
    "last-heartbeat": () => Promise.resolve(null),
    "channels.status": () =>
      Promise.resolve({
        ts: deps.now(),
        channelOrder: [],
        channelLabels: {},
        channelDetailLabels: {},
        channelSystemImages: {},
        channelMeta: [],
        channels: {},
        channelAccounts: {},
        channelDefaultAccountId: {},
      }),
    "logs.tail": async ({ principal }, ask) => {
      // Where things are on this machine is for its owner.
      const file = covers(principal.scopes, "operator.admin") ? deps.logFile : basename(deps.logFile);
      const { lines, ...tail } = await tailLog(deps.logFile, ask);
      return { file, ...tail, lines: [...lines] };
    },
  };
}

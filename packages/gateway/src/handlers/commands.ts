/** Slash commands in a person's message: answered at once, without a model, with that person's own authority. */
import type { Result } from "@portreeve/protocol";
import { answerCommand } from "../commands/answer.ts";
import { listCommands } from "../commands/list.ts";
import { parseCommand } from "../commands/parse.ts";
import type { Context, Handlers } from "../dispatch/types.ts";
import type { HandlerDeps } from "./deps.ts";

export interface CommandAnswer {
  readonly text: string;
  /** The command stopped the session's runs. */
  readonly stopped: Result<"chat.abort"> | undefined;
}

interface Written {
  readonly session: { readonly key: string; readonly agentId: string };
  readonly message: string;
  readonly idempotencyKey: string;
}

/** The answer to a command, also told as the end of a chat; undefined: the text is for the model. */
export async function answerIfCommand(
  deps: Pick<HandlerDeps, "bus" | "now" | "callerFor">,
  { principal }: Pick<Context, "principal">,
  { session, message, idempotencyKey }: Written,
): Promise<CommandAnswer | undefined> {
  const command = parseCommand(message);
  if (command === undefined) return undefined;
  const caller = deps.callerFor(principal);
  if (command.kind === "stop") {
    const stopped = await caller.call("chat.abort", { sessionKey: session.key });
    return { text: stopped.aborted ? `Stopped ${stopped.runIds.length} of this session's runs.` : "Nothing works here.", stopped };
  }
  const text = await answerCommand(command, { caller, sessionKey: session.key, idempotencyKey });
  deps.bus.publish("chat", {
    runId: idempotencyKey,
    sessionKey: session.key,
    agentId: session.agentId,
    seq: 1,
    state: "final",
    message: { role: "assistant", content: [{ type: "text", text }], timestamp: deps.now() },
    stopReason: "command",
  });
  return { text, stopped: undefined };
}

export function commandHandlers(): Pick<Handlers, "commands.list"> {
  return {
    // None of them is a command of a chat app's own.
    "commands.list": (_context, { scope = "both", includeArgs = false }) =>
      Promise.resolve({ commands: scope === "native" ? [] : listCommands({ includeArgs }) }),
  };
}

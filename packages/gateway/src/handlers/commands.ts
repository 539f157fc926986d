/** Slash commands in a person's message: answered at once, without a model, with that person's own authority. */
import type { Result } from "@portreeve/protocol";
import { answerCommand } from "../commands/answer.ts";
import { listCommands } from "../commands/list.ts";
import { type Command, parseCommand } from "../commands/parse.ts";
import type { Context, Handlers } from "../dispatch/types.ts";
import { type HandlerDeps, keyWasUsed } from "./deps.ts";

export interface CommandAnswer {
  readonly text: string;
  /** The command stopped the session's runs. */
  readonly stopped: Result<"chat.abort"> | undefined;
}

interface Written {
  readonly session: { readonly key: string; readonly agentId: string };
  readonly message: string;
  readonly idempotencyKey: string;
  /** It is told like a run, and this comes first; not called when the command is refused, or was answered before. */
  readonly accept?: () => void;
}

export interface Commands {
  /**
   * The answer to a command, also told as the end of a chat; undefined, and that at once: the text is for the model. The same key with
   * the same text is answered as before, and nothing is done again.
   * @throws ProtocolError IDEMPOTENCY_MISMATCH for a key that something else has
   */
  answer(context: Pick<Context, "principal">, written: Written): Promise<CommandAnswer> | undefined;
}

type CommandDeps = Pick<HandlerDeps, "bus" | "now" | "callerFor" | "store">;

/** Whoever sends a command again does it soon: a restart forgets it. */
const mostRemembered = 1_000;

export function createCommands(deps: CommandDeps): Commands {
  const answered = new Map<string, { readonly message: string; readonly answer: Promise<CommandAnswer> }>();
  return {
    answer({ principal }, written) {
      const key = JSON.stringify([principal.id, written.session.key, written.idempotencyKey]);
      const known = answered.get(key);
      if (known !== undefined && known.message !== written.message) throw keyWasUsed();
      if (known !== undefined) return known.answer;
      const command = parseCommand(written.message);
      if (command === undefined) return undefined;
      const answer = answerOnce(deps, { principal }, command, written);
      answered.set(key, { message: written.message, answer });
      for (const oldest of answered.keys()) if (answered.size > mostRemembered) answered.delete(oldest);
      // What was refused was not done.
      answer.catch(() => answered.delete(key));
      return answer;
    },
  };
}

async function answerOnce(
  deps: CommandDeps,
  { principal }: Pick<Context, "principal">,
  command: Command,
  written: Written,
): Promise<CommandAnswer> {
  const { session, idempotencyKey } = written;
  // Its end would be told as that run's.
  if ((await deps.store.runs.findByWireId(idempotencyKey, {})) !== undefined) throw keyWasUsed();
  const caller = deps.callerFor(principal);
  if (command.kind === "stop") {
    const stopped = await caller.call("chat.abort", { sessionKey: session.key });
    const text = stopped.aborted ? `Stopped ${stopped.runIds.length} of this session's runs.` : "Nothing works here.";
    if (written.accept !== undefined) tell(deps, written, text);
    return { text, stopped };
  }
  const text = await answerCommand(command, { caller, sessionKey: session.key, idempotencyKey });
  tell(deps, written, text);
  return { text, stopped: undefined };
}

/** As the end of a run, to those who hear the chat and to those who hear the agent. */
function tell({ bus, now }: CommandDeps, { session, idempotencyKey: runId, accept }: Written, text: string): void {
  const at = now();
  const run = { runId, sessionKey: session.key, agentId: session.agentId };
  const ended = { phase: "end", startedAt: at, endedAt: at, stopReason: "command", aborted: false, status: "succeeded" } as const;
  accept?.();
  bus.publish("agent", { ...run, seq: 1, ts: at, stream: "assistant", data: { text, delta: text } });
  bus.publish("agent", { ...run, seq: 2, ts: at, stream: "lifecycle", data: ended });
  const message = { role: "assistant" as const, content: [{ type: "text" as const, text }], timestamp: at };
  bus.publish("chat", { ...run, seq: 3, state: "final", message, stopReason: "command" });
}

export function commandHandlers(): Pick<Handlers, "commands.list"> {
  return {
    // None of them is a command of a chat app's own.
    "commands.list": (_context, { scope = "both", includeArgs = false }) =>
      Promise.resolve({ commands: scope === "native" ? [] : listCommands({ includeArgs }) }),
  };
}

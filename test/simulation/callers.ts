/** Whoever asks something of the gateway, and remembers what was asked and what was answered. */
import { type MethodName, type ParamsInput, ProtocolError } from "@portreeve/protocol";
import { secretPrincipal } from "../../packages/gateway/src/principal/principal.ts";
import type { Words } from "./life.ts";
import type { World } from "./world.ts";

/** Each makes a run under an idempotency key. */
type CommandName = "chat.send" | "agent" | "subagents.spawn" | "sessions.send";

const sessionField: Readonly<Record<CommandName, "sessionKey" | "key">> = {
  "chat.send": "sessionKey",
  agent: "sessionKey",
  "subagents.spawn": "sessionKey",
  "sessions.send": "key",
};

export interface Command {
  readonly name: CommandName;
  readonly key: string;
  readonly text: string;
  readonly sessionKey: string;
  readonly params: Readonly<Record<string, unknown>>;
  /** What the gateway said it made; undefined while it has not answered. */
  runId: string | undefined;
}

/** What a caller may be told in a world where the disk is full at times. */
const expectedErrors: ReadonlySet<string> = new Set([
  "STORE_UNAVAILABLE",
  "SPAWN_CHILDREN",
  "SPAWN_DEPTH",
  "RUN_FAILED",
  "UNKNOWN_RUN",
  "STOP_INCOMPLETE",
]);

const jobErrors: ReadonlySet<string> = new Set(["CRON_JOB_NOT_FOUND", "CRON_JOB_CHANGED", "CRON_NEVER_FIRES"]);

export class Callers {
  readonly commands: Command[] = [];
  /** Jobs whose addition was acknowledged, and jobs that somebody asked to remove. */
  readonly jobs = { added: new Set<string>(), removed: new Set<string>() };
  #drawnJobs = 0;
  readonly #world: World;
  readonly #words: Words;
  readonly #owner = secretPrincipal(["operator.admin"]);
  readonly #writer = secretPrincipal(["operator.write"]);

  constructor(world: World, words: Words) {
    this.#world = world;
    this.#words = words;
  }

  /** Makes a command that was never given before. */
  command(name: CommandName, sessionKey: string, extra: Readonly<Record<string, unknown>> = {}): void {
    const text = this.#words.next("asked");
    const key = `key-${text}`;
    const params = {
      [sessionField[name]]: sessionKey,
      [name === "subagents.spawn" ? "task" : "message"]: text,
      idempotencyKey: key,
      ...extra,
    };
    const command: Command = { name, key, text, sessionKey, params, runId: undefined };
    this.commands.push(command);
    this.give(command);
  }

  /** Gives it, for the first time or again: the answer is the same. */
  give(command: Command): void {
    const acknowledge = (runId: unknown): void => {
      if (typeof runId !== "string") return this.#world.judge.found(`${command.key} was answered without a runId`);
      if (command.runId !== undefined && command.runId !== runId)
        this.#world.judge.found(`${command.key} acted twice: ${command.runId} and ${runId}`);
      command.runId = runId;
    };
    this.ask(command.name, command.params, {
      onAccepted: (accepted) => acknowledge(Reflect.get(Object(accepted), "runId")),
      onAnswer: (answer) => acknowledge(Reflect.get(Object(answer), "runId")),
      // Only what is there can be sent to, and only so many notes wait.
      onError: (error) => command.name === "sessions.send" && (error.code === "UNKNOWN_SESSION" || error.code === "SESSION_BUSY"),
    });
  }

  /** The key of an acknowledged command with other words. */
  giveOther(command: Command): void {
    const params = { ...command.params, [command.name === "subagents.spawn" ? "task" : "message"]: "other words" };
    this.ask(command.name, params, {
      onAnswer: () => this.#world.judge.found(`${command.key} acted again, with other words`),
      onError: (error) => error.code === "IDEMPOTENCY_MISMATCH" || (command.name === "sessions.send" && error.code === "UNKNOWN_SESSION"),
    });
  }

  nextJob(): number {
    return (this.#drawnJobs += 1);
  }

  addJob(job: ParamsInput<"cron.add">): void {
    this.ask("cron.add", job, {
      onAnswer: (answer) => this.jobs.added.add(String(Reflect.get(Object(answer), "id"))),
      // The clock goes on meanwhile.
      onError: (error) => error.code === "CRON_NEVER_FIRES" && job.schedule.kind === "at",
    });
  }

  /** A job that may be gone, changed or over by then. */
  askOfJob(name: "cron.update" | "cron.run" | "cron.remove", id: string, params: Readonly<Record<string, unknown>> = {}): void {
    if (name === "cron.remove") this.jobs.removed.add(id);
    this.ask(name, { id, ...params }, { onError: ({ code }) => jobErrors.has(code) });
  }

  /** Asks the process there is; without one nobody answers. */
  ask<N extends MethodName>(
    name: N,
    params: Readonly<Record<string, unknown>>,
    hear: {
      readonly onAccepted?: (accepted: unknown) => void;
      readonly onAnswer?: (answer: unknown) => void;
      /** Whether that error was to be expected. */
      readonly onError?: (error: ProtocolError) => boolean;
    } = {},
  ): void {
    const { life, random, judge } = this.#world;
    if (life?.isReady !== true) return;
    const caller = life.callerAs(
      name.startsWith("cron.") || name === "sessions.delete" || name === "sessions.reset" || random.chance(0.3)
        ? this.#owner
        : this.#writer,
    );
    caller.call(name, params as ParamsInput<N>, { onAccepted: (accepted) => hear.onAccepted?.(accepted) }).then(
      (answer) => hear.onAnswer?.(answer),
      (error: unknown) => {
        if (!(error instanceof ProtocolError)) judge.found(`${name} was refused with ${String(error)}`);
        else if (hear.onError?.(error) !== true && !expectedErrors.has(error.code))
          judge.found(`${name} was refused: ${error.code} ${error.message}`);
      },
    );
  }
}

/** `agent <message>`: one run, streamed as it comes, with the results of the sub-agents it leaves behind. */
import { randomUUID } from "node:crypto";
import { ConnectionError, leastScopes, type GatewayClient } from "@portreeve/client";
import type { ParamsInput, Result } from "@portreeve/protocol/wire";
import type { Command } from "commander";
import { connecting, findAccess, wholeNumber, withExamples, type ConnectingFlags } from "../connecting.ts";
import { assertSaid, CliError } from "../exit.ts";
import { Narrator } from "../narrator.ts";
import { nextSteps } from "../next-steps.ts";
import { dim, oneLine, plain, writeJson, writeLine, type Io } from "../output.ts";
import { RunWatch, type LaterEnding, type Seen } from "../run-watch.ts";

/** As far as this command has heard. */
type RunState = "sent" | "accepted" | "ended";

interface AgentFlags extends ConnectingFlags {
  readonly session?: string;
  readonly agent?: string;
  readonly timeout?: number;
  readonly wait: boolean;
  readonly follow?: boolean;
}

export function addAgent(program: Command, io: Io): void {
  const command = connecting(program.command("agent <message>").description("run an agent turn and print the answer"));
  command
    .option("--session <key>", "the session to speak in (default: the agent's main session)")
    .option("--agent <id>", "the agent (default: the gateway's)")
    .option("--timeout <seconds>", "the run's deadline; 0 is none (default: the gateway's)", wholeNumber(0, 86_400))
    .option("--no-wait", "do not wait for sub-agents that are still at work when the run ends")
    .option("--follow", "show what sub-agents do too, and stream when the output is no terminal");
  withExamples(
    command,
    './portreeve agent "What is in this folder?"',
    './portreeve agent --session notes "Remember: the meeting is at ten."',
    './portreeve agent --json "hello" | jq -r .answer',
  );
  command.action((message: string, flags: AgentFlags) => runAgent(io, message, flags));
}

async function runAgent(io: Io, message: string, flags: AgentFlags): Promise<void> {
  assertSaid(message, "message", { expected: "what the agent is to do", remedy: 'Such as ./portreeve agent "What is in this folder?"' });
  const params = toParams(message, flags);
  const id = params.idempotencyKey;
  const access = await findAccess(io, flags);
  using client = await access.open(leastScopes("agent", params));
  const lost = failWhenClosed(client);
  const printer = new Printer(io, { isFollowing: flags.follow === true, asJson: flags.json === true });
  using watch = new RunWatch(client, id, (seen) => printer.show(seen));

  let state: RunState = "sent";
  const onAccepted = (): void => void (state = "accepted");
  const result = await client.call("agent", params, { onAccepted }).catch((error: unknown) => Promise.reject(toLost(error, id, state)));
  const answer = result.result.payloads.map(({ text }) => text).join("\n");
  printer.finish(id, answer);
  if (flags.wait && watch.openChildren > 0)
    printer.note(`waiting for ${watch.openChildren} sub-agent${watch.openChildren === 1 ? "" : "s"}`);
  const settle = (): Promise<readonly LaterEnding[]> =>
    Promise.race([watch.settled(), lost]).catch((error: unknown) => Promise.reject(toLost(error, id, "ended")));
  const later = flags.wait ? await settle() : [];
  for (const { runId, text } of later) printer.finish(runId, text);
  if (flags.json === true) writeJson(io, { answer: later.at(-1)?.text ?? answer, run: result, later });
  assertSucceeded(result, later);
}

function toParams(message: string, { session, agent, timeout }: AgentFlags): ParamsInput<"agent"> {
  return {
    message,
    idempotencyKey: randomUUID(),
    ...(session === undefined ? {} : { sessionKey: session }),
    ...(agent === undefined ? {} : { agentId: agent }),
    ...(timeout === undefined ? {} : { timeout }),
  };
}

/** Rejects when the connection ends: nothing more will be heard. */
function failWhenClosed(client: GatewayClient): Promise<never> {
  const lost = client.closed.then((error) => Promise.reject(error));
  // Nobody may be waiting any more when the connection ends.
  lost.catch(() => undefined);
  return lost;
}

/** A connection that ended under the run, with the run and where to look for it; any other error as it is. Pure. */
function toLost(error: unknown, id: string, state: RunState): unknown {
  if (!(error instanceof ConnectionError && error.kind === "closed")) return error;
  const { close } = error;
  const why = [`code ${close?.code ?? "unknown"}`, close?.reason].filter(Boolean).join(": ");
  const fates: Readonly<Record<RunState, string>> = {
    sent: `Whether run ${id} was accepted is not known.`,
    accepted: `Run ${id} was accepted and goes on, also over a restart of the gateway.`,
    ended: `Run ${id} has ended; its sub-agents go on, also over a restart of the gateway.`,
  };
  return new CliError("unreachable", `The connection to the gateway was lost (${why}). ${fates[state]}`, {
    code: "CONNECTION_CLOSED",
    remedy: `See how it stands: ./portreeve runs ${state === "ended" ? "tree" : "show"} ${id}`,
    cause: error,
  });
}

const remedy = nextSteps.RUN_FAILED;

function assertSucceeded(result: Result<"agent">, later: readonly LaterEnding[]): void {
  if (result.status === "timeout")
    throw new CliError("timeout", `The run ended at its deadline: ${result.summary}`, {
      code: "RUN_TIMEOUT",
      remedy: "Give it longer: ./portreeve agent --timeout SECONDS MESSAGE (0: no deadline)",
    });
  const failed = later.find(({ status }) => status !== "ok");
  if (result.status === "error") throw new CliError("failed", `The run failed: ${result.summary}`, { code: "RUN_FAILED", remedy });
  if (failed !== undefined)
    throw new CliError("failed", `The run that read the sub-agents' results did not succeed: ${failed.text}`, {
      code: "RUN_FAILED",
      remedy,
    });
}

/** Streams for a person, prints whole answers for a pipe, or prints every event as JSON when asked to follow. */
class Printer {
  readonly #io: Io;
  readonly #asJson: boolean;
  readonly #isFollowing: boolean;
  readonly #isStreaming: boolean;
  readonly #narrator = new Narrator();
  /** The newest reply of each run of the session, as far as it was streamed. */
  readonly #replies = new Map<string, string>();
  #isMidLine = false;

  constructor(io: Io, { isFollowing, asJson }: { isFollowing: boolean; asJson: boolean }) {
    this.#io = io;
    this.#asJson = asJson;
    this.#isFollowing = isFollowing;
    this.#isStreaming = !asJson && (isFollowing || io.isTerminal);
  }

  show(seen: Seen): void {
    if (this.#asJson) return this.#isFollowing ? writeJson(this.#io, seen) : undefined;
    if (!this.#isStreaming || (seen.by.depth > 0 && !this.#isFollowing)) return;
    if (seen.kind === "text" && seen.by.depth === 0) return this.#stream(seen.by.runId, seen.text, seen.isNew);
    for (const line of this.#narrator.tell(seen)) this.#line(line);
  }

  /** The answer of a run that has ended; prints it unless it was streamed. */
  finish(runId: string, answer: string): void {
    if (this.#asJson) return;
    if (this.#replies.get(runId)?.trim() !== answer.trim()) this.#stream(runId, answer, true);
    this.#endLine();
  }

  note(text: string): void {
    if (!this.#asJson) this.#line(text);
  }

  #stream(runId: string, text: string, isNew: boolean): void {
    if (isNew) this.#endLine();
    this.#replies.set(runId, isNew ? text : `${this.#replies.get(runId) ?? ""}${text}`);
    this.#io.out(plain(text));
    this.#isMidLine = !text.endsWith("\n");
  }

  /** A line about the run, not of it: on standard error. */
  #line(text: string): void {
    this.#endLine();
    this.#io.err(`${dim(this.#io, oneLine(text, 400))}\n`);
  }

  #endLine(): void {
    if (this.#isMidLine) writeLine(this.#io, "");
    this.#isMidLine = false;
  }
}

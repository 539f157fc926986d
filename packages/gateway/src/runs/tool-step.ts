/** The tools that one reply asks for: each call from what is told of its beginning to its result in the journal. */
import type { Caller } from "@portreeve/protocol";
import type { Clock } from "../kit/clock.ts";
import type { Log } from "../kit/log.ts";
import type { ToolCall } from "../models/model.ts";
import type { RunPrincipal } from "../principal/principal.ts";
import type { JournalEntry } from "../store/journal.ts";
import type { RunRecord, TranscriptMessage } from "../store/store.ts";
import type { Tool, ToolContext } from "../tools/tool.ts";
import type { Plan } from "./plan.ts";
import { runToolCall, toResult } from "./tool-call.ts";
import type { Interruption, TurnParts } from "./turn-host.ts";

export interface ToolStepDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly workspaceOf: (agentId: string) => string;
  /** The folder of the attachments with that id. */
  readonly attachmentsOf: (id: string) => string;
  readonly callerFor: (principal: RunPrincipal) => Caller;
}

/** What the tools have of their turn. */
export interface ToolStepParts extends Pick<TurnParts, "events" | "signal" | "processes"> {
  readonly run: RunRecord;
  readonly principal: RunPrincipal;
  /** Those the run may use, decided anew each time. */
  readonly tools: () => readonly Tool[];
  readonly sign: () => void;
  readonly commit: (entry: JournalEntry, messages: readonly TranscriptMessage[]) => Promise<void>;
  /** Answers the id under which it stands in the log. */
  readonly logFailure: (error: unknown, facts: object, what: string) => string;
}

type Asked = Extract<Plan, { do: "run-tools" }> & {
  /** Arguments as they came, by the id of the call, where the call has other ones. */
  readonly withheld: ReadonlyMap<string, unknown>;
};

/** Calls of one reply. */
const mostAtOnce = 8;

export class ToolStep {
  readonly #deps: ToolStepDeps;
  readonly #parts: ToolStepParts;
  readonly #lanes = new Set<Promise<void>>();
  #hasAbandoned = false;

  constructor(deps: ToolStepDeps, parts: ToolStepParts) {
    this.#deps = deps;
    this.#parts = parts;
  }

  /** A tool goes on although the run was stopped. */
  get hasAbandoned(): boolean {
    return this.#hasAbandoned;
  }

  /** Once the run's signal has aborted: resolves when every call has come to its end, or is not waited for any more. */
  async letGo(): Promise<void> {
    await Promise.allSettled(this.#lanes);
  }

  /** Resolves when every call has its result. @throws the reason of the run's signal, and whatever `commit` throws. */
  async run(asked: Asked): Promise<void> {
    const waiting = [...asked.calls];
    const lanes = Array.from({ length: mostAtOnce }, () => this.#callAll(waiting, asked));
    for (const lane of lanes) this.#lanes.add(lane);
    await Promise.all(lanes);
    this.#lanes.clear();
  }

  /** One after the other, until none is left in `waiting`, which others take from too. */
  async #callAll(waiting: ToolCall[], asked: Asked): Promise<void> {
    try {
      for (let call = waiting.shift(); call !== undefined; call = waiting.shift()) {
        this.#parts.signal.throwIfAborted();
        await this.#call(call, asked);
      }
    } catch (error) {
      // The turn is over: none of the reply's calls begins any more.
      waiting.length = 0;
      throw error;
    }
  }

  async #call(call: ToolCall, { begun, withheld, modelCalls }: Asked): Promise<void> {
    const { tools, events, commit, logFailure } = this.#parts;
    const tool = tools().find((one) => one.name === call.name);
    events.toolStarted(call);
    const result = await runToolCall({
      tool,
      call,
      args: withheld.get(call.id) ?? call.arguments,
      hasBegun: begun.includes(call.id),
      context: this.#contextOf(call, modelCalls),
      intend: () => commit({ kind: "tool-intent", toolCallId: call.id, name: call.name, args: call.arguments }, []),
      failed: (error) => logFailure(error, { tool: call.name }, "tool failed"),
      clock: this.#deps.clock,
      abandoned: () => this.#abandon(call),
    });
    const { entry, content } = toResult(call, result);
    await commit(entry, [{ role: "toolResult", content, timestamp: this.#deps.clock.now() }]);
    events.toolEnded(call, { isError: result.isError === true, details: result.details ?? result.text });
    if (result.spawned !== undefined) events.spawned(result.spawned);
  }

  #abandon(call: ToolCall): void {
    const { run, signal } = this.#parts;
    this.#hasAbandoned = true;
    const facts = { runId: run.runId, tool: call.name, toolCallId: call.id, reason: signal.reason as Interruption };
    this.#deps.log.error(facts, "a tool did not let go of a run that was stopped; what it still does is not known");
  }

  #contextOf(call: ToolCall, modelCalls: number): ToolContext {
    const { run, principal, signal, sign, processes } = this.#parts;
    return {
      caller: this.#deps.callerFor(principal),
      workspace: this.#deps.workspaceOf(run.agentId),
      attachments: run.terms.attachments && this.#deps.attachmentsOf(run.terms.attachments.id),
      sessionKey: run.sessionKey,
      agentId: run.agentId,
      callKey: `call:${run.runId}:${modelCalls}:${call.id}`,
      signal,
      sign,
      runProgram: (program) => processes.run(program),
    };
  }
}

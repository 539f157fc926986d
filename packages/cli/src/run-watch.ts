/** What happens in one agent run and in the sub-agents it starts, put together from the gateway's events. */
import { RemoteError, type GatewayClient } from "@portreeve/client";
import type { EventPayload, Result } from "@portreeve/protocol/wire";

type AgentEvent = EventPayload<"agent">;
type ChatEvent = EventPayload<"chat">;

/** Who did it: `depth` 0 is the run's own session. */
export interface Actor {
  readonly sessionKey: string;
  readonly runId: string;
  /** The child's label, else its session key; the agent's id at depth 0. */
  readonly name: string;
  readonly depth: number;
}

export type Seen =
  /** More text of a reply; `isNew` starts another reply. */
  | { readonly kind: "text"; readonly by: Actor; readonly text: string; readonly isNew: boolean }
  | { readonly kind: "tool"; readonly by: Actor; readonly name: string; readonly args: unknown }
  | { readonly kind: "spawned"; readonly by: Actor; readonly child: Actor; readonly scopes: readonly string[] }
  | { readonly kind: "announced"; readonly by: Actor; readonly child: Actor; readonly status: string; readonly result: string };

/** How a later run ended that read children's results after the run itself was over. */
export interface LaterEnding {
  readonly runId: string;
  readonly status: "ok" | "error" | "aborted";
  readonly text: string;
}

/** Follows the run `runId` from before it starts. Dispose to stop. */
export class RunWatch implements Disposable {
  readonly #client: GatewayClient;
  readonly #runId: string;
  readonly #sink: (seen: Seen) => void;
  readonly #listening: readonly Disposable[];
  /** Sessions of the run's tree, the root included, once they are known. */
  readonly #actors = new Map<string, Actor>();
  /** Text so far of each run's newest reply. */
  readonly #replies = new Map<string, string>();
  /** Children of the root session whose result is owed and nobody has read, by run id. */
  readonly #openChildren = new Set<string>();
  /** Later runs of the root session that read results and have not ended. */
  readonly #readers = new Set<string>();
  readonly #endings: LaterEnding[] = [];
  #isOver = false;
  #waiting = Promise.withResolvers<void>();

  /** `sink` must not throw. */
  constructor(client: GatewayClient, runId: string, sink: (seen: Seen) => void) {
    this.#client = client;
    this.#runId = runId;
    this.#sink = sink;
    this.#listening = [client.on("agent", (event) => this.#hearAgent(event)), client.on("chat", (event) => this.#hearChat(event))];
  }

  /** Children of the run whose result has not been read yet. */
  get openChildren(): number {
    return this.#openChildren.size;
  }

  /**
   * For when the run is over. Resolves when every child's result was read, or is owed to nobody because the child was stopped,
   * and every run that read one has ended; with how those runs ended.
   */
  async settled(): Promise<readonly LaterEnding[]> {
    this.#isOver = true;
    for (const runId of this.#openChildren) void this.#dropUnlessOwed(runId);
    while (this.#openChildren.size > 0 || this.#readers.size > 0) await this.#waiting.promise;
    return this.#endings;
  }

  [Symbol.dispose](): void {
    for (const listener of this.#listening) listener[Symbol.dispose]();
  }

  #hearAgent(event: AgentEvent): void {
    const by = this.#actorOf(event);
    if (by === undefined) return;
    if (event.stream === "assistant") return this.#addText(by, event.data.text);
    if (event.stream === "tool" && event.data.phase === "start") {
      this.#replies.delete(event.runId);
      return this.#sink({ kind: "tool", by, name: event.data.name, args: event.data.args });
    }
    if (event.stream === "subagent") this.#hearSubagent(by, event.data);
  }

  #hearSubagent(by: Actor, data: Extract<AgentEvent, { stream: "subagent" }>["data"]): void {
    const { childSessionKey: sessionKey, childRunId: runId, label } = data;
    const child = { sessionKey, runId, name: label ?? sessionKey, depth: by.depth + 1 };
    if (data.phase === "spawned") {
      this.#actors.set(sessionKey, child);
      if (by.depth === 0) this.#openChildren.add(runId);
      return this.#sink({ kind: "spawned", by, child, scopes: data.scopes });
    }
    if (by.depth === 0 && this.#openChildren.delete(runId) && by.runId !== this.#runId) this.#readers.add(by.runId);
    this.#sink({ kind: "announced", by, child, status: data.status, result: data.result });
    this.#wake();
  }

  #hearChat(event: ChatEvent): void {
    // Children end so too; no event says that the end of one is told to nobody.
    if (event.state !== "delta" && this.#isOver && this.#openChildren.has(event.runId)) void this.#dropUnlessOwed(event.runId);
    if (event.state === "delta" || !this.#readers.delete(event.runId)) return;
    const said = event.state === "error" ? event.errorMessage : (event.message?.content.map(({ text }) => text).join("") ?? "");
    this.#endings.push({ runId: event.runId, status: event.state === "final" ? "ok" : event.state, text: said });
    this.#wake();
  }

  /** Must not reject: who cannot be asked still may be told. */
  async #dropUnlessOwed(runId: string): Promise<void> {
    const isOwed = await this.#client.call("runs.get", { runId }).then(mayBeRead, isKnown);
    if (!isOwed && this.#openChildren.delete(runId)) this.#wake();
  }

  /** Whoever the event is about, when it belongs to the run's tree. */
  #actorOf({ runId, sessionKey, agentId }: AgentEvent): Actor | undefined {
    if (runId === this.#runId && !this.#actors.has(sessionKey))
      this.#actors.set(sessionKey, { sessionKey, runId, name: agentId, depth: 0 });
    const actor = this.#actors.get(sessionKey);
    return actor === undefined ? undefined : { ...actor, runId };
  }

  /** Events carry all text of the reply so far: a text that does not go on from the last one is another reply. */
  #addText(by: Actor, text: string): void {
    const before = this.#replies.get(by.runId);
    const isNew = before === undefined || !text.startsWith(before);
    this.#replies.set(by.runId, text);
    const more = isNew ? text : text.slice(before.length);
    if (more !== "") this.#sink({ kind: "text", by, text: more, isNew });
  }

  #wake(): void {
    this.#waiting.resolve();
    this.#waiting = Promise.withResolvers();
  }
}

/** Whether a turn may still read the run's result without anybody's doing. */
function mayBeRead({ run }: Result<"runs.get">): boolean {
  return run.endedAt === undefined || !["not_required", "blocked", "dismissed"].includes(run.delivery.status);
}

function isKnown(error: unknown): boolean {
  return !(error instanceof RemoteError && error.code === "UNKNOWN_RUN");
}

/** One prompt: a run that is started, told as it goes, and waited for, also over a connection that is lost and comes back. */
import { randomUUID } from "node:crypto";
import type { SessionUpdate, StopReason } from "@agentclientprotocol/sdk";
import { ConnectionError, RemoteError, type GatewayClient } from "@portreeve/client";
import { Speech, type EventPayload, type Result } from "@portreeve/protocol/wire";
import { CliError } from "../exit.ts";
import { said, toToolUpdate } from "./updates.ts";

export type Tell = (update: SessionUpdate) => void;

export interface TurnAsk {
  readonly sessionKey: string;
  readonly message: string;
  /** For how long a lost gateway is waited for. */
  readonly patienceMs: number;
}

export class Turn {
  readonly #runId = `acp:${randomUUID()}`;
  readonly #connected: () => Promise<GatewayClient>;
  readonly #ask: TurnAsk;
  readonly #tell: Tell;
  readonly #speech = new Speech();
  /** Ends the wait for a gateway that was never sent the prompt. */
  readonly #unsent = new AbortController();
  #isAfterTool = true;
  #isSent = false;
  #isAccepted = false;
  #isCancelled = false;

  constructor(connected: () => Promise<GatewayClient>, ask: TurnAsk, tell: Tell) {
    this.#connected = connected;
    this.#ask = ask;
    this.#tell = tell;
  }

  /** @throws RemoteError, ConnectionError */
  async run(): Promise<StopReason> {
    const client = await this.#connected();
    if (this.#isCancelled) return "cancelled";
    using _ = client.on("agent", (event) => this.#hear(event));
    try {
      const result = await this.#untilAnswered(client);
      this.#speech.finish(result.result.payloads.map(({ text }) => text).join("\n\n"));
      this.#sayMore();
      return this.#toStopReason(result);
    } catch (error) {
      if (this.#isCancelled) return "cancelled";
      if (error instanceof RemoteError && error.details["stopReason"] === "refusal") return "refusal";
      throw error;
    }
  }

  /** Must not reject: the run's end says what became of it. */
  async cancel(): Promise<void> {
    this.#isCancelled = true;
    if (!this.#isSent) return this.#unsent.abort();
    // Not there yet: it is stopped as soon as it is.
    if (!this.#isAccepted) return;
    const { sessionKey } = this.#ask;
    const client = await this.#connected().catch(() => undefined);
    await client?.call("chat.abort", { sessionKey, runId: this.#runId }).catch(() => undefined);
  }

  /** The same command again is the same run, so whoever lost the answer asks again. */
  async #untilAnswered(client: GatewayClient): Promise<Result<"agent">> {
    let failure: unknown = goneFor(this.#ask.patienceMs);
    for (;;) {
      using patience = new Patience(this.#ask.patienceMs, this.#unsent.signal);
      try {
        return await Promise.race([this.#call(client, patience), patience.over]);
      } catch (error) {
        if (error === patience) throw failure;
        if (!(error instanceof ConnectionError) || error.phase !== "calling") throw error;
        failure = error;
      }
    }
  }

  #call(client: GatewayClient, patience: Patience): Promise<Result<"agent">> {
    const { sessionKey, message } = this.#ask;
    const params = { sessionKey, message, idempotencyKey: this.#runId };
    return client.call("agent", params, {
      signal: patience.signal,
      onSent: () => {
        patience.end();
        this.#isSent = true;
      },
      onAccepted: () => {
        this.#isAccepted = true;
        if (this.#isCancelled) void this.cancel();
      },
    });
  }

  #hear(event: EventPayload<"agent">): void {
    if (event.runId !== this.#runId) return;
    if (event.stream === "assistant") {
      this.#speech.hear(event.data.text);
      this.#sayMore();
    }
    if (event.stream !== "tool") return;
    if (event.data.phase === "start") this.#speech.endReply();
    this.#isAfterTool = true;
    this.#tell(toToolUpdate(event, this.#runId));
  }

  #sayMore(): void {
    for (let piece = this.#speech.take(); piece !== ""; piece = this.#speech.take()) {
      // A tool call stands between two replies already.
      const text = this.#isAfterTool ? piece.replace(/^\n\n/, "") : piece;
      this.#isAfterTool = false;
      if (text !== "") this.#tell(said("agent", text));
    }
  }

  #toStopReason({ status, summary, result: { meta } }: Result<"agent">): StopReason {
    if (meta.aborted) return "cancelled";
    if (status !== "ok") throw new Error(status === "timeout" ? "The run reached its deadline." : `The run ended as ${summary}.`);
    return meta.stopReason === "length" ? "max_tokens" : "end_turn";
  }
}

function goneFor(patienceMs: number): CliError {
  return new CliError("unreachable", `The gateway has not come back in ${patienceMs / 1_000} seconds; the prompt was not sent to it.`, {
    code: "UNREACHABLE",
    remedy: "See whether the gateway still runs: ./portreeve health",
  });
}

/** How long a call may wait for the gateway. Rejects and aborts with itself when that is over, or was given up. */
class Patience implements Disposable {
  readonly over: Promise<never>;
  /** Whatever still waits for the gateway must not reach it once the wait was reported as failed. */
  readonly signal: AbortSignal;
  readonly #timer: NodeJS.Timeout;

  constructor(ms: number, givenUp: AbortSignal) {
    const { promise, reject } = Promise.withResolvers<never>();
    const end = new AbortController();
    this.over = promise;
    this.signal = AbortSignal.any([end.signal, givenUp]);
    promise.catch(() => undefined);
    this.signal.addEventListener("abort", () => reject(this), { once: true });
    this.#timer = setTimeout(() => end.abort(this), ms);
  }

  /** The gateway has it: it is waited for without end. */
  end(): void {
    clearTimeout(this.#timer);
  }

  [Symbol.dispose](): void {
    this.end();
  }
}

/** A run that a request starts, follows and, when whoever asked goes away, stops. */
import { Speech, type Accepted, type ParamsInput, type Result } from "@portreeve/protocol";
import type { Bus } from "../bus.ts";
import type { Dispatch } from "../dispatch/types.ts";
import { background, type Log } from "../kit/log.ts";
import { mayHear } from "../principal/hearing.ts";
import type { Principal } from "../principal/principal.ts";

export interface FollowedRunDeps {
  readonly dispatch: Dispatch;
  readonly bus: Pick<Bus, "subscribe">;
  readonly log: Log;
}

/** Whoever asked for the run. */
export interface Asker {
  readonly principal: Principal;
  /** Aborts when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
  /** Whether the run ends with that: not when it is the gateway that goes. */
  readonly takesRunAlong: () => boolean;
}

export interface FollowedRun {
  readonly accepted: Accepted<"agent">;
  /** What the run says, once and in order; ends with the run. Rejects as `result` does. */
  readonly texts: () => AsyncIterable<string>;
  /** Rejects with a ProtocolError, or when nobody waits any more. */
  readonly result: Promise<Result<"agent">>;
}

/** Resolves when the run is durable. @throws ProtocolError what `agent` refuses with */
export async function startFollowedRun(deps: FollowedRunDeps, asker: Asker, params: ParamsInput<"agent">): Promise<FollowedRun> {
  const { principal, signal } = asker;
  const [speech, following] = [new Speech(), new DisposableStack()];
  const accepted = Promise.withResolvers<Accepted<"agent">>();
  let spoken = Promise.withResolvers<void>();
  const wake = (): void => {
    spoken.resolve();
    spoken = Promise.withResolvers();
  };
  let isOver = false;
  const accept = (run: Accepted<"agent">): void => {
    following.use(follow(deps.bus, principal, run, { speech, wake }));
    following.use(stopWhenGone(deps, asker, run, () => isOver));
    accepted.resolve(run);
  };
  const over = (): void => {
    isOver = true;
    following.dispose();
    wake();
  };
  // Dispatch answers with what the handler of this very method gives.
  const result = deps.dispatch(principal, "agent", params, { signal, accept: accept as (run: unknown) => void }) as Promise<
    Result<"agent">
  >;
  // A second reader of the promise: whoever awaits the result hears of its failure itself.
  result.then(over, over);
  const run = await Promise.race([accepted.promise, result.then(() => accepted.promise)]);
  const texts = async function* (): AsyncIterable<string> {
    for (;;) {
      const woken = spoken.promise;
      const piece = speech.take();
      if (piece !== "") yield piece;
      else if (isOver) break;
      else await woken;
    }
    speech.finish(answerOf(await result));
    for (let piece = speech.take(); piece !== ""; piece = speech.take()) yield piece;
  };
  return { accepted: run, texts, result };
}

export function answerOf({ result }: Result<"agent">): string {
  return result.payloads.map(({ text }) => text).join("\n\n");
}

/** Live text is told to whoever may hear it on a socket, and to nobody else. */
function follow(
  bus: FollowedRunDeps["bus"],
  principal: Principal,
  run: Accepted<"agent">,
  { speech, wake }: { readonly speech: Speech; readonly wake: () => void },
): Disposable {
  if (!mayHear(principal, "agent")) return new DisposableStack();
  return bus.subscribe("agent", (event) => {
    if (event.runId !== run.runId || event.sessionKey !== run.sessionKey) return;
    if (event.stream === "tool" && event.data.phase === "start") speech.endReply();
    if (event.stream !== "assistant") return;
    speech.hear(event.data.text);
    wake();
  });
}

function stopWhenGone({ dispatch, log }: FollowedRunDeps, asker: Asker, run: Accepted<"agent">, isOver: () => boolean): Disposable {
  const { principal, signal, takesRunAlong } = asker;
  const stop = (): void => {
    if (isOver() || !takesRunAlong()) return;
    const { sessionKey, runId } = run;
    const stopped = dispatch(principal, "chat.abort", { sessionKey, runId }, { signal: new AbortController().signal });
    background(log, "stop the run of a caller that is gone", stopped);
  };
  if (signal.aborted) stop();
  signal.addEventListener("abort", stop, { once: true });
  return { [Symbol.dispose]: () => signal.removeEventListener("abort", stop) };
}

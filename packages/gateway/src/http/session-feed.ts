/** That something happened in a session, as its reader learns of it: never what. Whoever hears it reads the session again. */
import type { Bus } from "../bus.ts";

export interface SessionFeed extends Disposable {
  /** How far the transcript reaches, as far as that was heard since the feed was opened; 0: not at all. */
  readonly throughSeq: number;
  /** Resolves when something happened since it was last asked; false: nobody waits any more. */
  next(): Promise<boolean>;
}

/** `signal` aborts when nobody waits any more. */
export function openSessionFeed(bus: Pick<Bus, "subscribe">, sessionKey: string, signal: AbortSignal): SessionFeed {
  const stack = new DisposableStack();
  let [throughSeq, isNews] = [0, false];
  let heard = Promise.withResolvers<void>();
  const wake = (): void => {
    isNews = true;
    heard.resolve();
  };
  stack.use(
    bus.subscribe("appended", (appended) => {
      if (appended.sessionKey !== sessionKey) return;
      throughSeq = appended.throughSeq;
      wake();
    }),
  );
  stack.use(
    bus.subscribe("sessions.changed", ({ sessionKey: changed, reason }) => {
      if (changed === sessionKey && (reason === "reset" || reason === "delete")) wake();
    }),
  );
  signal.addEventListener("abort", wake);
  stack.defer(() => signal.removeEventListener("abort", wake));
  return {
    get throughSeq() {
      return throughSeq;
    },
    async next() {
      if (!isNews && !signal.aborted) await heard.promise;
      isNews = false;
      heard = Promise.withResolvers();
      return !signal.aborted;
    },
    [Symbol.dispose]: () => stack.dispose(),
  };
}

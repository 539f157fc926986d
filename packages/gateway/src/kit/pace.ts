/** Work that takes milliseconds a piece, spread over turns of the event loop: between them everybody else is answered. */

/** In one turn of the event loop nobody goes on after this long; what those who did write commits together. */
const turnMs = 1;

/** Resolves when it is the caller's turn, first come first served; never before what was answered until now is on its way. */
export type Pace = () => Promise<void>;

/** `elapsedMs` measures how long a turn of the event loop has taken. */
export function createPace(elapsedMs: () => number = () => performance.now()): Pace {
  const waiting: (() => void)[] = [];
  let isGoing = false;
  let startedAtMs = 0;
  const begin = (): void => {
    startedAtMs = elapsedMs();
    isGoing = waiting.length > 0;
    if (isGoing) goOn();
  };
  const goOn = (): void => {
    const next = waiting.length > 0 && elapsedMs() - startedAtMs < turnMs ? waiting.shift() : undefined;
    if (next === undefined) return void setImmediate(begin);
    next();
    // When it has done all that it does without waiting.
    queueMicrotask(() => process.nextTick(goOn));
  };
  return () =>
    new Promise((resolve) => {
      waiting.push(resolve);
      if (isGoing) return;
      isGoing = true;
      // Answers leave in the same queue.
      process.nextTick(begin);
    });
}

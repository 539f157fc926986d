/** Work that takes milliseconds a piece, spread over turns of the event loop: between them everybody else is answered. */

/** How many go on in one turn of the event loop; what they write then commits together. */
const atOnce = 4;

/** Resolves when it is the caller's turn, first come first served; never before what was answered until now is on its way. */
export type Pace = () => Promise<void>;

export function createPace(): Pace {
  const waiting: (() => void)[] = [];
  let left = atOnce;
  const nextTurn = (): void => {
    const going = waiting.splice(0, atOnce);
    left = atOnce - going.length;
    for (const go of going) go();
    if (going.length > 0) setImmediate(nextTurn);
  };
  return () =>
    new Promise((resolve) => {
      if (left === atOnce) setImmediate(nextTurn);
      if (left === 0) waiting.push(resolve);
      else {
        left -= 1;
        // Answers leave in the same queue.
        process.nextTick(resolve);
      }
    });
}

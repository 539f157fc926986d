/** Time as an argument: real in the gateway, virtual in tests. */

export interface Clock {
  /** Unix milliseconds. */
  now(): number;
  /** Runs `task` once, at or soon after `atMs`. Disposing before then cancels it. `task` must not throw. */
  schedule(atMs: number, task: () => void): Disposable;
}

/** A clock that also knows how much time passed, whatever was set meanwhile. */
export interface SteadyClock extends Clock {
  /** Milliseconds since some moment; never goes back. */
  elapsedMs(): number;
}

/** Node's timers hold at most a signed 32-bit delay; a later task is re-armed on the way. */
const longestDelayMs = 2_147_483_647;

export function createSystemClock(): SteadyClock {
  return {
    now: () => Date.now(),
    elapsedMs: () => performance.now(),
    schedule(atMs, task) {
      let timer: NodeJS.Timeout;
      const arm = (): void => {
        const delayMs = Math.max(0, atMs - Date.now());
        timer = delayMs > longestDelayMs ? setTimeout(arm, longestDelayMs) : setTimeout(task, delayMs);
      };
      arm();
      return { [Symbol.dispose]: () => clearTimeout(timer) };
    },
  };
}

/** Resolves at `atMs`, or rejects with the signal's reason when it aborts first. */
export function sleepUntil(clock: Clock, atMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const onAbort = (): void => {
      timer[Symbol.dispose]();
      reject(signal.reason);
    };
    const timer = clock.schedule(atMs, () => {
      signal.removeEventListener("abort", onAbort);
      resolve();
    });
    signal.addEventListener("abort", onAbort, { once: true });
  });
}

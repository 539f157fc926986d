/** What was asked of one session keeps its order: a stop reaches every message that was sent before it, and none sent after. */

export class SessionOrder {
  /** Settles when all that was sent to the session so far is admitted or refused. */
  readonly #admitting = new Map<string, Promise<unknown>>();
  /** Settles when the last stop that waits for those has begun. */
  readonly #stopping = new Map<string, Promise<unknown>>();

  /** `admission` must call no method: a stop of the same session would wait for it. */
  admit<T>(key: string, admission: () => Promise<T>): Promise<T> {
    const admitted = this.#stopping.get(key)?.then(admission) ?? admission();
    remember(this.#admitting, key, Promise.allSettled([this.#admitting.get(key), admitted]));
    return admitted;
  }

  /** `stop` has begun when it has asked the store: what is sent then does not wait for its end. */
  async stop<T>(key: string, stop: () => Promise<T>): Promise<T> {
    const before = this.#admitting.get(key);
    if (before === undefined) return stop();
    const begun = before.then(() => ({ stopped: stop() }));
    remember(this.#stopping, key, begun);
    return (await begun).stopped;
  }

  /** Resolves when all that was sent to the session before is admitted or refused. */
  async admitted(key: string): Promise<void> {
    await this.#admitting.get(key);
  }
}

/** Until it has settled, unless another has taken its place. */
function remember(promises: Map<string, Promise<unknown>>, key: string, promise: Promise<unknown>): void {
  promises.set(key, promise);
  void promise.then(() => {
    if (promises.get(key) === promise) promises.delete(key);
  });
}

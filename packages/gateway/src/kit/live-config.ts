/** The configuration as it counts now: what it started with, and what of a change counts at once. */
import type { Config } from "./config.ts";

export class LiveConfig {
  readonly #started: Config;
  #current: Config;

  constructor(started: Config) {
    this.#started = started;
    this.#current = started;
  }

  get current(): Config {
    return this.#current;
  }

  /** What `next` would be now: of what needs a restart, the value from the start. */
  blend(next: Config): Config {
    const { stallSeconds, compaction, subagents } = this.#started.agents.defaults;
    const { maxConcurrent, archiveAfterMinutes } = subagents;
    const { defaults } = next.agents;
    return {
      ...this.#started,
      models: { ...next.models, contextWindows: this.#started.models.contextWindows },
      agents: {
        ...next.agents,
        defaults: {
          ...defaults,
          stallSeconds,
          compaction,
          subagents: { ...defaults.subagents, maxConcurrent, archiveAfterMinutes },
        },
      },
    };
  }

  /** A value made of the configuration, anew after each change of it. */
  derive<T>(make: (config: Config) => T): () => T {
    let made: { readonly of: Config; readonly value: T } | undefined;
    return () => {
      if (made?.of !== this.#current) made = { of: this.#current, value: make(this.#current) };
      return made.value;
    };
  }

  take(blended: Config): void {
    this.#current = blended;
  }
}

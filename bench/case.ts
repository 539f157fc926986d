/** What a case of the benchmark is, and what it is given. */
import type { Measure } from "./measure.ts";
import type { Model } from "./model.ts";
import type { StartOptions, Target } from "./target.ts";

export interface Bench {
  /** Counts for a look whether everything works; the numbers mean nothing. */
  readonly isQuick: boolean;
  readonly model: Model;
  /** The bare echo server. */
  readonly ceilingUrl: string;
  /** A fresh gateway, or the one that was named on the command line. */
  start(options?: Pick<StartOptions, "subagents" | "watchesLoop">): Promise<Target>;
  /** One whose agents have a tool `program`. */
  startWithPrograms(): Promise<Target>;
}

export interface Case {
  readonly name: string;
  /** One line for the table. */
  readonly about: string;
  /**
   * `protocol`: any target will do. `model`: its model must be the bench's. `process`: it must be started here, because its
   * configuration or its process matter.
   */
  readonly needs: "protocol" | "model" | "process";
  /** Methods the target must have. */
  readonly methods: readonly string[];
  run(bench: Bench): Promise<readonly Measure[]>;
}

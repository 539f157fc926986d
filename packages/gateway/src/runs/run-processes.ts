/**
 * The programs that tools of one run start. They have nothing of the gateway's environment but what every program needs,
 * they end with the run, whole groups at a time, and they are written down before they begin, for whoever comes after a crash.
 */
import type { HeldProgram, ProgramOutcome, Programs } from "../kit/process-group.ts";
import type { Log } from "../kit/log.ts";
import type { ProcessStore } from "../store/process-store.ts";
import type { Program } from "../tools/tool.ts";

export interface RunProcessesInput {
  readonly store: ProcessStore;
  readonly programs: Programs;
  readonly runId: string;
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

const defaultOutputBytes = 1_000_000;
const patience = { graceMs: 300, killMs: 1_000 };

export class RunProcesses {
  readonly #input: RunProcessesInput;
  /** The groups there are, each with its end once that has been asked for. */
  readonly #groups = new Map<number, Promise<boolean> | undefined>();
  /** All that were started: one that is being started is not among the groups yet. */
  readonly #starts: Promise<HeldProgram>[] = [];
  #survivors: readonly number[] = [];
  /** Told of every output. */
  onOutput: () => void = () => undefined;

  constructor(input: RunProcessesInput) {
    this.#input = input;
    input.signal.addEventListener("abort", () => [...this.#groups.keys()].forEach((pid) => void this.#end(pid)), { once: true });
  }

  /** Process groups that could not be ended. */
  get survivors(): readonly number[] {
    return this.#survivors;
  }

  /** Runs a program to its end. @throws the reason of the run's signal, or what Node throws when it cannot be started. */
  async run(program: Program): Promise<ProgramOutcome> {
    const { store, runId, signal } = this.#input;
    signal.throwIfAborted();
    const starting = this.#start(program);
    this.#starts.push(starting);
    const { pid, startedAt, begin, ended, letGo, outcome } = await starting;
    await store.note({ pid, startedAt, runId });
    if (!signal.aborted) begin();
    else void this.#end(pid);
    await ended;
    // What it left running in its group goes too: a call that has its result has no effects to come.
    await this.#end(pid);
    await letGo();
    signal.throwIfAborted();
    return await outcome;
  }

  /** Once the run's signal has aborted: ends every group, and resolves when none is left, or when it is known which are. */
  async stop(): Promise<void> {
    await Promise.allSettled(this.#starts);
    const pids = [...this.#groups.keys()];
    const isGone = await Promise.all(pids.map((pid) => this.#end(pid)));
    this.#survivors = pids.filter((_pid, index) => isGone[index] !== true);
  }

  async #start({ file, args = [], maxOutputBytes = defaultOutputBytes }: Program): Promise<HeldProgram> {
    const { programs, cwd, env } = this.#input;
    const held = await programs.start({ file, args, cwd, env, maxOutputBytes, onOutput: () => this.onOutput() });
    this.#groups.set(held.pid, undefined);
    return held;
  }

  /** Answers whether nothing of the group is left. */
  #end(pid: number): Promise<boolean> {
    const ending = this.#groups.get(pid) ?? this.#endOnce(pid);
    this.#groups.set(pid, ending);
    return ending;
  }

  async #endOnce(pid: number): Promise<boolean> {
    const isGone = await this.#input.programs.stop(pid, patience);
    if (!isGone) return false;
    // What stays written down is looked for at the next start, and forgotten then.
    await this.#input.store.forget(pid).catch(() => undefined);
    this.#groups.delete(pid);
    return true;
  }
}

/** Ends what runs of a process that is no more have left behind. Before any run goes on. */
export async function endLeftProcesses(store: ProcessStore, programs: Programs, log: Log): Promise<void> {
  const left = await store.list();
  await Promise.all(
    left.map(async ({ pid, startedAt, runId }) => {
      const isGone = !programs.isStill(pid, startedAt) || (await programs.stop(pid, patience));
      if (!isGone) return log.error({ pid, runId }, "a program of a run cannot be ended");
      await store.forget(pid);
    }),
  );
}

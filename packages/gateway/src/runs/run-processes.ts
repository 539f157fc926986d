/**
 * The programs that tools of one run start. They have nothing of the gateway's environment but what every program needs,
 * they end with the run, whole groups at a time, and they are written down before they begin, for whoever comes after a crash.
 */
import type { ProgramOutcome, Programs } from "../kit/process-group.ts";
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
  async run({ file, args = [], maxOutputBytes = defaultOutputBytes }: Program): Promise<ProgramOutcome> {
    const { store, programs, runId, cwd, env, signal } = this.#input;
    signal.throwIfAborted();
    const { pid, startedAt, begin, outcome } = await programs.start({
      file,
      args,
      cwd,
      env,
      maxOutputBytes,
      onOutput: () => this.onOutput(),
    });
    this.#groups.set(pid, undefined);
    await store.note({ pid, startedAt, runId });
    if (!signal.aborted) begin();
    else void this.#end(pid);
    const ended = await outcome;
    // What it left running in its group goes too: a call that has its result has no effects to come.
    await this.#end(pid);
    signal.throwIfAborted();
    return ended;
  }

  /** Ends every group; resolves when none is left, or when it is known which are. */
  async stop(): Promise<void> {
    const pids = [...this.#groups.keys()];
    const isGone = await Promise.all(pids.map((pid) => this.#end(pid)));
    this.#survivors = pids.filter((_pid, index) => isGone[index] !== true);
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
    await this.#input.store.forget(pid);
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

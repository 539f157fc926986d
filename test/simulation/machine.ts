/** The machine under the processes: programs of runs live there, in virtual time, and outlive whoever started them. */
import type { HeldProgram, ProgramInput, ProgramOutcome, Programs } from "../../packages/gateway/src/kit/process-group.ts";
import type { Life } from "./life.ts";
import type { Random } from "./random.ts";
import type { ProcessClock, Timeline } from "./timeline.ts";

interface Program {
  readonly pid: number;
  readonly startedBy: Life;
  readonly token: string;
  readonly isStubborn: boolean;
  readonly ended: PromiseWithResolvers<ProgramOutcome>;
  state: "held" | "begun" | "gone";
  timer: Disposable | undefined;
}

const nothing = { stdout: "", stderr: "", isCut: false };

export class Machine {
  readonly #clock: ProcessClock;
  readonly #random: Random;
  readonly #onBegin: (token: string) => void;
  readonly #programs = new Map<number, Program>();
  /** How many there have been that did something. */
  begun = 0;
  #started = 1_000;

  constructor(timeline: Timeline, random: Random, onBegin: (token: string) => void) {
    this.#clock = timeline.createClock({ isSteady: true });
    this.#random = random;
    this.#onBegin = onBegin;
  }

  /** Process ids of what lives and was started by `life`, or by anybody. */
  living(life?: Life): readonly number[] {
    return [...this.#programs.values()].filter((one) => life === undefined || one.startedBy === life).map(({ pid }) => pid);
  }

  /** What it had not begun never begins. */
  died(life: Life): void {
    for (const program of this.#programs.values())
      if (program.startedBy === life && program.state === "held") this.#end(program, undefined);
  }

  /** The machine as a process sees it: nothing comes back to one that is frozen or dead. */
  seenBy(life: Life): Programs {
    return {
      start: async (input) => {
        await life.pass();
        return this.#start(life, input);
      },
      isStill: (pid, startedAt) => this.#programs.has(pid) && startedAt === `start of ${pid}`,
      stop: async (pid, { graceMs }) => {
        await life.pass();
        const program = this.#programs.get(pid);
        if (program?.isStubborn === true) await this.#sleep(graceMs);
        await life.pass();
        if (program !== undefined) this.#end(program, "SIGKILL");
        return true;
      },
    };
  }

  #start(life: Life, { args }: ProgramInput): HeldProgram {
    // Every program here is called with a token, and with how long it takes.
    const [token = "", runMs = "0"] = args;
    const pid = (this.#started += 1);
    const ended = Promise.withResolvers<ProgramOutcome>();
    const program: Program = { pid, startedBy: life, token, isStubborn: this.#random.chance(0.3), ended, state: "held", timer: undefined };
    this.#programs.set(pid, program);
    const outcome = ended.promise.then(async (how) => {
      await life.pass();
      return how;
    });
    return {
      pid,
      startedAt: `start of ${pid}`,
      begin: () => this.#begin(program, Number(runMs)),
      outcome,
      ended: outcome.then(() => undefined),
      letGo: () => Promise.resolve(),
    };
  }

  #begin(program: Program, runMs: number): void {
    if (program.state !== "held") return;
    program.state = "begun";
    this.begun += 1;
    this.#onBegin(program.token);
    program.timer = this.#clock.schedule(this.#clock.now() + runMs, () => this.#end(program, undefined));
  }

  #end(program: Program, signal: string | undefined): void {
    if (program.state === "gone") return;
    program.timer?.[Symbol.dispose]();
    program.ended.resolve({ ...nothing, signal, exitCode: signal === undefined ? (program.state === "held" ? 125 : 0) : undefined });
    program.state = "gone";
    this.#programs.delete(program.pid);
  }

  #sleep(forMs: number): Promise<void> {
    return new Promise((resolve) => void this.#clock.schedule(this.#clock.now() + forMs, resolve));
  }
}

/** Which processes runs have started: whoever starts after a crash ends what is left of them. */
export interface StartedProcess {
  /** Also the id of its group. */
  readonly pid: number;
  /** As the kernel says it: tells the process from a later one of the same number. */
  readonly startedAt: string | undefined;
  readonly runId: string;
}

export interface ProcessStore {
  note(started: StartedProcess): Promise<void>;
  forget(pid: number): Promise<void>;
  list(): Promise<readonly StartedProcess[]>;
}

/** What an import is asked for, and what it says of everything it found. */
import type { Ids } from "../kit/ids.ts";
import type { FileProblem, Source } from "./source.ts";

export interface ImportOptions {
  readonly sourceDir: string;
  readonly stateDir: string;
  readonly configFile: string;
  /** What `~` stands for in the source's configuration. */
  readonly homeDir: string;
  /** Changes nothing: everything is tried on a copy. */
  readonly dryRun: boolean;
  readonly ids: Ids;
  readonly nowMs: number;
}

export interface Imported {
  readonly what: string;
  /** What of it did not come along. */
  readonly notes: readonly string[];
}

export interface Left {
  readonly what: string;
  readonly why: string;
}

export interface Part {
  readonly imported: readonly Imported[];
  readonly left: readonly Left[];
}

export interface ImportReport {
  readonly generation: Source["generation"];
  readonly dryRun: boolean;
  readonly agents: Part;
  readonly devices: Part;
  readonly sessions: Part;
  readonly jobs: Part;
  /** What has no place here. */
  readonly leftovers: readonly Left[];
  readonly problems: readonly FileProblem[];
}

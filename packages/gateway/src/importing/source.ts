/** What a source holds, as far as it is understood. */
import type { DeviceToImport, SessionToImport } from "../store/importing.ts";
import type { TranscriptMessage } from "../store/store.ts";

/** One thing that comes over, or why it does not. */
export type Candidate<T> = { readonly what: string } & (
  | { readonly kind: "usable"; readonly value: T; /** What of it does not come along. */ readonly notes: readonly string[] }
  | { readonly kind: "left"; readonly why: string }
);

export interface SourceDevice extends Omit<DeviceToImport, "remoteIp" | "roles"> {
  readonly roles: readonly ("operator" | "node")[];
}

export interface SourceAgent {
  readonly id: string;
  readonly workspace: string | undefined;
  readonly model: string | undefined;
}

export interface SourceSession extends Omit<SessionToImport, "archivedAtMs" | "messages"> {
  readonly isArchived: boolean;
  /** Oldest first. @throws SourceProblem */
  readonly messages: () => Promise<Transcript>;
}

export interface Transcript {
  readonly messages: readonly TranscriptMessage[];
  /** What of it does not come along. */
  readonly notes: readonly string[];
}

export interface SourceJob {
  /** In the source. */
  readonly id: string;
  /** As `cron.add` takes it. */
  readonly job: Readonly<Record<string, unknown>>;
  readonly wasEnabled: boolean;
}

/** A file that could not be used, or not wholly. */
export interface FileProblem {
  readonly file: string;
  readonly why: string;
}

export interface Source extends AsyncDisposable {
  readonly generation: "2026.4" | "2026.9";
  readonly agents: readonly Candidate<SourceAgent>[];
  readonly devices: readonly Candidate<SourceDevice>[];
  readonly sessions: readonly Candidate<SourceSession>[];
  readonly jobs: readonly Candidate<SourceJob>[];
  readonly problems: readonly FileProblem[];
  /** What there is that has no place here. */
  readonly leftovers: readonly { readonly what: string; readonly why: string }[];
}

export function usable<T>(what: string, value: T, notes: readonly string[] = []): Candidate<T> {
  return { what, kind: "usable", value, notes };
}

export function left<T>(what: string, why: string): Candidate<T> {
  return { what, kind: "left", why };
}

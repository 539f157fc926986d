/** What can be said of a database from outside: the facts of a health check. */

export interface DatabaseFacts {
  /** What SQLite's own check found, in its words. */
  readonly integrityProblems: readonly string[];
  /** Written by a newer version. */
  readonly unknownMigrations: readonly string[];
  /** What the next start of this version will do. */
  readonly missingMigrations: readonly string[];
  readonly newestMigration: string | undefined;
  readonly deviceIds: readonly string[];
  /** Runs in state running that no worker holds. */
  readonly unleasedRuns: readonly RunFacts[];
  /** Results of children that no run will read. */
  readonly unreadResults: readonly RunFacts[];
  /** Results of children that a turn has read which then failed. */
  readonly unconfirmedResults: readonly RunFacts[];
  /** Rows that name something that is not there, each in words. */
  readonly danglingRows: readonly string[];
  /** The newest time that anything was written at. */
  readonly newestMs: number | undefined;
}

export interface RunFacts {
  readonly runId: string;
  readonly sessionKey: string;
  readonly sinceMs: number;
}

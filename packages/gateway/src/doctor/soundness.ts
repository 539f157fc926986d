/** Whether a database may be restored: the doctor's checks of the database itself, on a folder that nobody runs on. */
import { gatherStore } from "./gather.ts";
import { checkSoundness } from "./store-checks.ts";

export interface Soundness {
  readonly problems: readonly string[];
  /** Migrations of a newer version, which are among the problems. */
  readonly newer: readonly string[];
  /** The newest migration. */
  readonly schema: string;
  readonly audit: { readonly rows: number; readonly head: string };
}

export async function findUnsoundness(stateDir: string, nowMs: number): Promise<Soundness> {
  const database = await gatherStore(stateDir, nowMs);
  const unknown = { newer: [], schema: "", audit: { rows: 0, head: "" } };
  if (database.kind === "missing") return { problems: ["there is no database"], ...unknown };
  if (database.kind === "empty") return { problems: ["the database holds nothing"], ...unknown };
  if (database.kind === "no-room") return { problems: ["the database cannot be read while its disk is full"], ...unknown };
  if (database.kind === "unreadable") return { problems: [`the database cannot be read: ${database.problem}`], ...unknown };
  const findings = checkSoundness(database, stateDir);
  return {
    problems: findings.filter(({ status }) => status === "problem").map(({ check, text }) => `${check}: ${text}`),
    newer: database.unknownMigrations,
    schema: database.newestMigration ?? "",
    audit: { rows: database.chain.rows, head: database.chain.head?.hash ?? "" },
  };
}

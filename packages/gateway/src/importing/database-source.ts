/** Databases of a state folder of 2026.9, read from copies: the originals are not even opened. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { zstdDecompressSync } from "node:zlib";
import { isRecord } from "@portreeve/protocol";
import { type Candidate, left, type SourceDevice, type SourceJob, type SourceSession, type Transcript } from "./source.ts";
import { type SourceFolder, SourceProblem } from "./source-folder.ts";
import { judgeDevice, judgeJob, judgeSession } from "./source-records.ts";
import { toTranscript } from "./source-transcript.ts";

const maxDatabaseBytes = 4_294_967_296;
const maxJsonBytes = 4_194_304;
const maxRows = 100_000;
const maxEvents = 200_000;

type Row = Readonly<Record<string, unknown>>;

/** A copied database, gone with everything beside it when disposed. */
export class DatabaseSource implements AsyncDisposable {
  readonly #db: DatabaseSync;
  readonly #close: () => Promise<void>;
  readonly #tables: ReadonlySet<string>;

  private constructor(db: DatabaseSync, close: () => Promise<void>) {
    this.#db = db;
    this.#close = close;
    this.#tables = new Set(
      db
        .prepare("select name from sqlite_master where type = 'table'")
        .all()
        .map((row) => String(row["name"])),
    );
  }

  /** Copies the file and what was not yet written into it. Undefined when it is missing. @throws SourceProblem */
  static async open(folder: SourceFolder, parts: readonly string[]): Promise<DatabaseSource | undefined> {
    const draft = await mkdtemp(join(tmpdir(), "portreeve-import-"));
    const close = (): Promise<void> => rm(draft, { recursive: true, force: true });
    try {
      const file = join(draft, "copy.sqlite");
      if (!(await folder.copy(parts, file, maxDatabaseBytes))) return await close().then(() => undefined);
      const [name = "", ...above] = parts.toReversed();
      await folder.copy([...above.reverse(), `${name}-wal`], `${file}-wal`, maxDatabaseBytes);
      return new DatabaseSource(openCopy(file), close);
    } catch (error) {
      await close();
      throw error instanceof SourceProblem ? error : unreadable(error);
    }
  }

  devices(): readonly Candidate<SourceDevice>[] {
    return this.#rows("device_pairing_paired", "created_at_ms").map((row) => {
      const record = {
        deviceId: row["device_id"],
        publicKey: row["public_key"],
        displayName: row["operator_label"] ?? row["display_name"],
        platform: row["platform"],
        deviceFamily: row["device_family"],
        clientId: row["client_id"],
        clientMode: row["client_mode"],
        role: row["role"],
        roles: parseJson(row["roles_json"]),
        scopes: parseJson(row["scopes_json"]),
        approvedScopes: parseJson(row["approved_scopes_json"]),
        tokens: parseJson(row["tokens_json"]),
      };
      return judgeDevice(String(row["device_id"]), record);
    });
  }

  nodeCount(): number {
    return this.#rows("device_pairing_paired", "created_at_ms").filter((row) => typeof row["node_surface_json"] === "string").length;
  }

  jobs(): readonly Candidate<SourceJob>[] {
    return this.#rows("cron_jobs", "sort_order").map((row) => judgeJob(parseJson(row["job_json"])));
  }

  sessions(agentId: string): readonly Candidate<SourceSession>[] {
    return this.#rows("session_nodes", "updated_at").map((row) => {
      const record = parseJson(row["entry_json"]);
      const entry = {
        ...(isRecord(record) ? pick(record, ["spawnDepth", "providerOverride", "modelOverride", "modelOverrideSource"]) : {}),
        sessionId: row["current_session_id"],
        updatedAt: row["updated_at"],
        createdAt: row["created_at"],
        label: row["label"],
        archivedAt: row["archived_at"] ?? undefined,
        spawnedBy: row["spawned_by"],
      };
      const judged = judgeSession(String(row["session_key"]), entry, agentId);
      if (judged.kind === "left") return left(judged.what, judged.why);
      const { sessionId } = judged.value;
      return { ...judged, value: { ...judged.value, messages: () => Promise.resolve().then(() => this.#transcript(sessionId)) } };
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#db.close();
    await this.#close();
  }

  #transcript(sessionId: string): Transcript {
    if (!this.#tables.has("transcript_events")) throw new SourceProblem("it has no transcript");
    const text = "select event_json, event_zstd from transcript_events where session_id = ? order by seq desc limit ?";
    const rows = attempt(() => this.#db.prepare(text).all(sessionId, maxEvents));
    return toTranscript(rows.reverse().map((row) => parseJson(row["event_json"] ?? unpack(row["event_zstd"]))));
  }

  /** None when there is no such table: a view of that name is none. */
  #rows(table: string, order: string): readonly Row[] {
    if (!this.#tables.has(table)) return [];
    return attempt(() => this.#db.prepare(`select * from ${table} order by ${order} limit ${maxRows}`).all());
  }
}

function pick(record: Readonly<Record<string, unknown>>, names: readonly string[]): Readonly<Record<string, unknown>> {
  return Object.fromEntries(names.flatMap((name) => (Object.hasOwn(record, name) ? [[name, record[name]]] : [])));
}

/** Nothing in the file may act: no trigger, view or function of it is trusted, and nothing can be written. */
function openCopy(file: string): DatabaseSync {
  const db = new DatabaseSync(file, { allowExtension: false, enableDoubleQuotedStringLiterals: false });
  try {
    db.exec("pragma trusted_schema = off; pragma cell_size_check = on; pragma query_only = on; pragma mmap_size = 0");
    db.prepare("select count(*) from sqlite_master").get();
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

function attempt<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw unreadable(error);
  }
}

function unreadable(error: unknown): SourceProblem {
  return new SourceProblem(`cannot be read: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
}

/** Null for what cannot be read. */
function parseJson(text: unknown): unknown {
  if (typeof text !== "string" || text.length > maxJsonBytes) return null;
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function unpack(bytes: unknown): string | null {
  if (!(bytes instanceof Uint8Array)) return null;
  try {
    return zstdDecompressSync(bytes, { maxOutputLength: maxJsonBytes }).toString("utf8");
  } catch {
    return null;
  }
}

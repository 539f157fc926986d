/** A state folder of 2026.4: JSON files, and one file of lines a session. */
import { isRecord } from "@portreeve/protocol";
import {
  type Candidate,
  type FileProblem,
  left,
  type SourceDevice,
  type SourceJob,
  type SourceSession,
  type Transcript,
} from "./source.ts";
import { type SourceFolder, SourceProblem } from "./source-folder.ts";
import { judgeDevice, judgeJob, judgeSession } from "./source-records.ts";
import { toTranscript } from "./source-transcript.ts";

const maxJsonBytes = 67_108_864;
const maxTranscriptBytes = 268_435_456;
const maxEntries = 100_000;
const maxAgents = 1_000;

/** Reads the parts that are files; what cannot be used is named in `problems`. */
export class FileSource {
  readonly #folder: SourceFolder;
  readonly problems: FileProblem[] = [];

  constructor(folder: SourceFolder) {
    this.#folder = folder;
  }

  /** Undefined when it is missing or cannot be used. */
  async json(...parts: readonly string[]): Promise<unknown> {
    return this.attempt(parts, async () => {
      const text = await this.#folder.text(parts, maxJsonBytes);
      return text === undefined ? undefined : parseJson(text);
    });
  }

  async devices(): Promise<readonly Candidate<SourceDevice>[]> {
    return entriesOf(await this.json("devices", "paired.json")).map(([id, record]) => judgeDevice(id, record));
  }

  /** How many nodes have commands that were approved. */
  async nodeCount(): Promise<number> {
    return entriesOf(await this.json("nodes", "paired.json")).length;
  }

  async jobs(): Promise<readonly Candidate<SourceJob>[]> {
    const store = await this.json("cron", "jobs.json");
    const jobs: unknown = isRecord(store) ? store["jobs"] : undefined;
    return Array.isArray(jobs) ? jobs.slice(0, maxEntries).map(judgeJob) : [];
  }

  async agentIds(): Promise<readonly string[]> {
    const names = await this.attempt(["agents"], () => this.#folder.list(["agents"], maxAgents));
    return (names ?? []).filter((name) => /^[a-z0-9][a-z0-9_-]{0,63}$/.test(name));
  }

  async sessions(agentId: string): Promise<readonly Candidate<SourceSession>[]> {
    return entriesOf(await this.json("agents", agentId, "sessions", "sessions.json")).map(([key, entry]) => {
      const judged = judgeSession(key, entry, agentId);
      if (judged.kind === "left") return left(judged.what, judged.why);
      // By its id: where a record says that its file lies is not trusted.
      const parts = ["agents", agentId, "sessions", `${judged.value.sessionId}.jsonl`];
      return { ...judged, value: { ...judged.value, messages: () => this.#transcript(parts) } };
    });
  }

  async attempt<T>(parts: readonly string[], read: () => Promise<T>): Promise<T | undefined> {
    try {
      return await read();
    } catch (error) {
      if (!(error instanceof SourceProblem)) throw error;
      this.problems.push({ file: parts.join("/"), why: error.message });
      return undefined;
    }
  }

  hasFailed(parts: readonly string[]): boolean {
    return this.problems.some(({ file }) => file === parts.join("/"));
  }

  async #transcript(parts: readonly string[]): Promise<Transcript> {
    const text = await this.#folder.text(parts, maxTranscriptBytes).catch((error: unknown) => {
      throw error instanceof SourceProblem ? new SourceProblem(`${parts.join("/")} ${error.message}`) : error;
    });
    if (text === undefined) throw new SourceProblem(`${parts.join("/")} is missing`);
    return toTranscript(
      text
        .split("\n")
        .filter((line) => line.trim() !== "")
        .map(parseLine),
    );
  }
}

function entriesOf(value: unknown): readonly (readonly [string, unknown])[] {
  return isRecord(value) ? Object.entries(value).slice(0, maxEntries) : [];
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new SourceProblem("is not JSON");
  }
}

/** Null for a line that cannot be read. */
function parseLine(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}

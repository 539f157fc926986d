/** State folders as OpenClaw 2026.4 and 2026.9 left them, small and with made-up keys; the later one's databases are made from text. */
import { createHash } from "node:crypto";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";

const fixtures = join(import.meta.dirname, "../fixtures/openclaw");

export interface OpenClawState extends AsyncDisposable {
  readonly path: string;
  /** A digest of every name, size, time and content in it. */
  digest(): Promise<string>;
}

export async function createOpenClawState(generation: "2026.4" | "2026.9"): Promise<OpenClawState> {
  const path = await mkdtemp(join(tmpdir(), "openclaw-state-"));
  const from = join(fixtures, generation);
  if (generation === "2026.4") await cp(from, path, { recursive: true });
  else {
    await cp(join(from, "openclaw.json"), join(path, "openclaw.json"));
    await makeDatabase(join(from, "state.sql"), join(path, "state/openclaw.sqlite"));
    for (const id of ["main", "helper"])
      await makeDatabase(join(from, `agents/${id}.sql`), join(path, `agents/${id}/agent/openclaw-agent.sqlite`));
  }
  return {
    path,
    digest: () => digestOf(path),
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  };
}

async function makeDatabase(text: string, file: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  using db = new DatabaseSync(file);
  db.exec(`pragma journal_mode = wal; pragma foreign_keys = off; begin; ${await readFile(text, "utf8")} commit`);
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash("sha256");
  for (const name of (await readdir(path, { recursive: true })).toSorted()) {
    const found = await stat(join(path, name));
    hash.update(`${name}|${found.size}|${found.mtimeMs}|`);
    if (found.isFile()) hash.update(await readFile(join(path, name)));
  }
  return hash.digest("hex");
}

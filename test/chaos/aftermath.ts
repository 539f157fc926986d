/** What is left when all is over, read from the files themselves: nothing lost, nothing twice. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { type Family, familySize } from "./family.ts";

/** The gateway must have stopped. `isShort`: a spawn may have been refused, and its run knows. */
export async function assertExactlyOnce(
  { home, stateDir }: { readonly home: string; readonly stateDir: string },
  families: readonly Family[],
  { isShort = false }: { readonly isShort?: boolean } = {},
): Promise<void> {
  using database = new DatabaseSync(join(stateDir, "portreeve.db"), { readOnly: true });
  const all = (sql: string): Record<string, unknown>[] => database.prepare(sql).all();
  assert.deepEqual(all("select run_id, status from runs where status <> 'succeeded'"), []);
  const runs = countOf(database, "select count(*) as n from runs where trigger not in ('cron', ?)", "announce");
  if (!isShort) assert.equal(runs, families.length * familySize);
  for (const { key, isAcknowledged } of families) {
    assert.ok(isAcknowledged, `${key} was never acknowledged`);
    assert.equal(countOf(database, "select count(*) as n from runs where wire_id = ?", key), 1, key);
  }

  const texts = all("select session_key, body from messages").map((row) => [String(row["session_key"]), String(row["body"])] as const);
  const children = all("select run_id, session_key, parent_session_key from runs where trigger = 'spawn'");
  for (const { run_id, session_key, parent_session_key } of children) {
    const mark = JSON.stringify(`<subagent_result session="${String(session_key)}"`).slice(1, -1);
    const told = texts.flatMap(([key, body]) => Array.from({ length: body.split(mark).length - 1 }, () => key));
    assert.deepEqual(told, [parent_session_key], `the result of ${String(run_id)}`);
    assert.equal(countOf(database, "select count(*) as n from inbox where child_run_id = ? and consumed_at_ms is not null", run_id), 1);
  }

  const effects = (await readFile(join(home, "effects.log"), "utf8")).trimEnd().split("\n");
  const seen = new Set(effects);
  assert.equal(seen.size, effects.length, "a tool that may not run twice did");
  const uncertain = new Set(
    all("select entry from journal where entry like '%Whether it had its effect is unknown%'").flatMap(({ entry }) =>
      tokensIn(String(entry)),
    ),
  );
  for (const token of all("select input from runs").flatMap(({ input }) => effectsOf(String(input))))
    assert.ok(seen.has(`charge ${token}`) || uncertain.has(token), `the effect ${token} never was, and nobody was told`);
}

function countOf(database: DatabaseSync, sql: string, value: unknown): number {
  return Number(database.prepare(sql).get(String(value))?.["n"]);
}

/** What the run itself was to do, without its children's part. */
function effectsOf(input: string): readonly string[] {
  if (!input.startsWith("@script ")) return [];
  const steps = JSON.parse(input.slice("@script ".length)) as { call?: { tool: string; args: { token?: string } }[] }[];
  return steps.flatMap(({ call = [] }) =>
    call.flatMap(({ tool, args: { token } }) => (tool === "charge" && token !== undefined ? [token] : [])),
  );
}

/** However deep the quotes are. */
function tokensIn(text: string): readonly string[] {
  return [...text.matchAll(/token\\*":\\*"([\w.-]+)/g)].map((match) => match[1] ?? "");
}

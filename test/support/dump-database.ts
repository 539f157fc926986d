/** A SQLite file as SQL text that makes it again: how a schema's fixture is written (`node test/support/dump-database.ts FILE`). */
import { DatabaseSync } from "node:sqlite";

export function dumpDatabase(file: string): string {
  using db = new DatabaseSync(file, { readOnly: true });
  const tables = db
    .prepare("select name, sql from sqlite_master where sql is not null and name not like 'sqlite_%' order by type desc, rowid")
    .all();
  const lines = tables.map((row) => `${String(row["sql"])};`);
  for (const { name } of db
    .prepare("select name from sqlite_master where type = 'table' and name not like 'sqlite_%' order by rowid")
    .all()) {
    for (const row of db.prepare(`select * from "${String(name)}"`).all()) {
      lines.push(`insert into "${String(name)}" values (${Object.values(row).map(toLiteral).join(", ")});`);
    }
  }
  return `${lines.join("\n")}\n`;
}

function toLiteral(value: unknown): string {
  if (value === null) return "null";
  return typeof value === "number" ? String(value) : `'${String(value).replaceAll("'", "''")}'`;
}

const [, script, file] = process.argv;
if (script === import.meta.filename && file !== undefined) process.stdout.write(dumpDatabase(file));

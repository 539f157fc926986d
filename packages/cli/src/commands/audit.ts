/** `audit` and `why`: what was granted, whether its record holds, and the rule that decided. */
import { resolve } from "node:path";
import type { AuditRow, ExplainedStep } from "@portreeve/protocol";
import type { Result } from "@portreeve/protocol/wire";
import type { Command } from "commander";
import { connecting, findAccess, withExamples, wholeNumber, type ConnectingFlags } from "../connecting.ts";
import { CliError } from "../exit.ts";
import { oneLine, toMinute, toTable, writeJson, writeLine, type Io } from "../output.ts";

type Verdict = Result<"audit.verify">;

interface AuditFlags extends ConnectingFlags {
  readonly state?: string;
}

interface ListFlags extends AuditFlags {
  readonly limit?: number;
  readonly kind?: string;
  readonly subject?: string;
}

const adminScopes = ["operator.admin"] as const;
const pageRows = 1_000;

export function addAudit(program: Command, io: Io): void {
  const audit = program.command("audit").description("what was granted, by whom, and whether the record of it holds");

  const list = connecting(audit.command("list").description("grants and decisions, newest first"));
  list
    .option("--limit <n>", "rows at most (default: 30)", wholeNumber(1, pageRows))
    .option("--kind <kind>", "only rows of this kind, such as device.approved")
    .option("--subject <id>", "only rows about this device, run or session; an id may be its beginning");
  withExamples(list, "./portreeve audit list", "./portreeve audit list --kind device.approved --json");
  list.action((flags: ListFlags) => runList(io, flags));

  const verify = offline(
    connecting(audit.command("verify").description("check the whole chain; exit code 1 and the first broken row when it does not hold")),
  );
  withExamples(verify, "./portreeve audit verify", "./portreeve audit verify --state ~/.portreeve/state");
  verify.action((flags: AuditFlags) => runVerify(io, flags));

  const dump = offline(connecting(audit.command("export").description("every row, oldest first, as lines of JSON with the hashes")));
  withExamples(dump, "./portreeve audit export > audit.jsonl");
  dump.action((flags: AuditFlags) => runExport(io, flags));

  const why = offline(
    connecting(
      program
        .command("why <id>")
        .description("the rule that decided about a pairing request, device, run, session or row of the audit, and its causes"),
    ),
  );
  withExamples(
    why,
    "./portreeve why run_019a",
    "./portreeve why 4f9d1c2a77aa88bb99cc00dd",
    "./portreeve why 12 --state ~/.portreeve/state",
  );
  why.addHelpText("after", "\nAn ID may be its beginning, as the tables show it; that of a run its end too.");
  why.action((id: string, flags: AuditFlags) => runWhy(io, id, flags));
}

function offline(command: Command): Command {
  return command.option("--state <dir>", "read this state folder instead of asking a gateway");
}

async function runList(io: Io, { limit = 30, kind, subject, ...flags }: ListFlags): Promise<void> {
  const access = await findAccess(io, flags);
  using client = await access.openAsOwner(adminScopes);
  const filter = { ...(kind === undefined ? {} : { kind }), ...(subject === undefined ? {} : { subject }) };
  const result = await client.call("audit.list", { limit, ...filter });
  if (flags.json === true) writeJson(io, result);
  else writeLine(io, showRows(result.rows));
}

async function runVerify(io: Io, flags: AuditFlags): Promise<void> {
  const verdict = flags.state === undefined ? await askVerdict(io, flags) : await readVerdict(resolve(io.cwd, flags.state));
  if (flags.json === true) writeJson(io, verdict);
  if (verdict.firstBreak !== undefined) throw chainBroken(verdict.firstBreak);
  if (flags.json !== true) writeLine(io, showVerdict(verdict));
}

async function runExport(io: Io, flags: AuditFlags): Promise<void> {
  const rows = flags.state === undefined ? await askRows(io, flags) : await readRows(resolve(io.cwd, flags.state));
  for (const row of rows) writeJson(io, row);
}

async function runWhy(io: Io, id: string, flags: AuditFlags): Promise<void> {
  const result = flags.state === undefined ? await askWhy(io, id, flags) : await readWhy(id, resolve(io.cwd, flags.state));
  if (flags.json === true) writeJson(io, result);
  else writeLine(io, showSteps(result.steps));
}

async function askVerdict(io: Io, flags: AuditFlags): Promise<Verdict> {
  const access = await findAccess(io, flags);
  using client = await access.openAsOwner(adminScopes);
  return await client.call("audit.verify", {});
}

async function askWhy(io: Io, id: string, flags: AuditFlags): Promise<Result<"audit.explain">> {
  const access = await findAccess(io, flags);
  using client = await access.openAsOwner(adminScopes);
  return await client.call("audit.explain", { id });
}

/** Page by page from the newest, turned round. */
async function askRows(io: Io, flags: AuditFlags): Promise<readonly AuditRow[]> {
  const access = await findAccess(io, flags);
  using client = await access.openAsOwner(adminScopes);
  const rows: AuditRow[] = [];
  let cursor: string | undefined;
  do {
    const page = await client.call("audit.list", { limit: pageRows, ...(cursor === undefined ? {} : { cursor }) });
    rows.push(...page.rows);
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  return rows.toReversed();
}

async function readVerdict(stateDir: string): Promise<Verdict> {
  await using store = await openState(stateDir);
  const { rows, head, firstBreak } = await store.audit.verify();
  return {
    ok: firstBreak === undefined,
    rows,
    ...(head === undefined ? {} : { head: { ...head } }),
    ...(firstBreak === undefined ? {} : { firstBreak: { ...firstBreak } }),
  };
}

async function readRows(stateDir: string): Promise<readonly AuditRow[]> {
  await using store = await openState(stateDir);
  const rows = await store.audit.list(Number.MAX_SAFE_INTEGER);
  return rows.map(({ factsText, facts: _facts, ...row }) => ({ ...row, facts: factsText }));
}

async function readWhy(id: string, stateDir: string): Promise<Result<"audit.explain">> {
  const { explain } = await import("@portreeve/gateway/explain");
  await using store = await openState(stateDir);
  const explained = await explain(store, id, Date.now());
  if (explained.kind === "steps") return { id, steps: [...explained.steps] };
  const { code, message, remedy } = explained.refusal;
  throw new CliError("failed", message, { code, remedy });
}

async function openState(stateDir: string) {
  const { openReadOnlyStore } = await import("@portreeve/gateway/state");
  const store = openReadOnlyStore(stateDir);
  if (store !== undefined) return store;
  throw new CliError("failed", `${stateDir} holds no database of a gateway.`, {
    code: "NO_STATE",
    remedy: "Name the state folder itself, such as ~/.portreeve/state.",
  });
}

/** Pure. */
export function chainBroken({ seq, reason }: NonNullable<Verdict["firstBreak"]>): CliError {
  const reasons: Readonly<Record<typeof reason, string>> = {
    "missing-rows": "rows are missing before it",
    "broken-link": "it does not follow from the row before it",
    "changed-row": "it was changed after it was written",
  };
  return new CliError("failed", `The audit does not hold: row ${seq} is the first that is broken, ${reasons[reason]}.`, {
    code: "AUDIT_BROKEN",
    remedy: "Keep a copy of the state folder, compare with a backup, and trust no grant from that row on: ./portreeve audit list",
  });
}

function showVerdict({ rows, head }: Verdict): string {
  if (head === undefined) return "The audit holds: it has no row yet.";
  return `The audit holds: ${rows} row${rows === 1 ? "" : "s"}. Its head is row ${head.seq}, ${head.hash}`;
}

function showRows(rows: readonly AuditRow[]): string {
  if (rows.length === 0) return "No row of the audit fits.";
  const cells = rows.map(({ seq, atMs, kind, actor, subject, facts }) => [
    String(seq),
    toMinute(atMs),
    kind,
    shorten(actor),
    shorten(subject),
    facts,
  ]);
  return toTable(["ROW", "TIME", "KIND", "BY", "ABOUT", "FACTS"], cells);
}

/** The first line is what was asked about, each next one what caused the one before, or what it was refused. Pure. */
export function showSteps(steps: readonly ExplainedStep[]): string {
  return steps
    .map(({ about, rule, atMs, text }, index) => {
      const when = atMs === undefined ? "" : `  ${toMinute(atMs)}`;
      const link = index === 0 ? "" : about === "refusal" ? "and " : "because ";
      return `${link}${oneLine(rule)}${when}\n  ${oneLine(text, 400)}`;
    })
    .join("\n");
}

/** A hex id is known by its beginning; other ids stay whole. */
function shorten(id: string): string {
  return id.replace(/\b([0-9a-f]{8})[0-9a-f]{56}\b/, "$1");
}

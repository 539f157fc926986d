/** `import openclaw`: takes over another gateway's state folder. It reads and writes files; no gateway is asked. */
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { findHome } from "@portreeve/gateway/home";
import type { ImportReport, Part } from "@portreeve/gateway/import";
import type { Command } from "commander";
import { withExamples } from "../connecting.ts";
import { CliError } from "../exit.ts";
import { bold, oneLine, writeJson, writeLine, type Io } from "../output.ts";

interface ImportFlags {
  readonly state?: string;
  readonly into?: string;
  readonly config?: string;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

export function addImport(program: Command, io: Io): void {
  const parent = program.command("import").description("take over what another gateway has");
  const command = parent
    .command("openclaw")
    .description("devices, agents, sessions and jobs of OpenClaw 2026.4 or 2026.9; its folder is only read, this gateway must be stopped");
  command
    .option("--state <dir>", "OpenClaw's state folder (default: OPENCLAW_STATE_DIR, else ~/.openclaw)")
    .option("--dry-run", "change nothing: say what would come over")
    .option("--into <dir>", "this gateway's state folder (default: state in the home)")
    .option("--config <file>", "this gateway's configuration file (default: config.json5 in the home)")
    .option("--json", "print JSON; errors too, on standard error");
  withExamples(command, "./portreeve import openclaw --dry-run", "./portreeve import openclaw --state /srv/openclaw/state");
  command.action((flags: ImportFlags) => runImport(io, flags));
}

async function runImport(io: Io, flags: ImportFlags): Promise<void> {
  const home = findHome(io.env);
  const [{ importState }, { createIds }] = await Promise.all([import("@portreeve/gateway/import"), import("@portreeve/gateway/ids")]);
  const homeDir = io.env["HOME"] ?? homedir();
  const source = flags.state ?? (io.env["OPENCLAW_STATE_DIR"] || join(homeDir, ".openclaw"));
  const report = await attempt(
    importState({
      sourceDir: resolve(io.cwd, source),
      stateDir: flags.into === undefined ? home.stateDir : resolve(io.cwd, flags.into),
      configFile: flags.config === undefined ? home.configFile : resolve(io.cwd, flags.config),
      homeDir,
      dryRun: flags.dryRun === true,
      ids: createIds(),
      nowMs: Date.now(),
    }),
  );
  if (flags.json === true) writeJson(io, report);
  else writeLine(io, showReport(io, report));
}

async function attempt<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof Error && error.name === "ImportError" && "code" in error && "remedy" in error)) throw error;
    throw new CliError("failed", `${error.message}.`, { code: String(error.code), remedy: String(error.remedy), cause: error });
  }
}

/** Pure but for the colour. */
export function showReport(io: Pick<Io, "hasColour">, report: ImportReport): string {
  const { generation, dryRun, agents, devices, sessions, jobs, leftovers, problems } = report;
  const parts: readonly (readonly [string, Part])[] = [
    ["agents", agents],
    ["devices", devices],
    ["sessions", sessions],
    ["jobs", jobs],
  ];
  return [
    `${dryRun ? "Would come over" : "Came over"} from OpenClaw ${generation}: ${parts.map(([name, { imported }]) => `${imported.length} ${name}`).join(", ")}`,
    ...parts.flatMap(([name, part]) => showPart(io, name, part)),
    ...section(
      io,
      "Does not come over",
      leftovers.map(({ what, why }) => `${what}: ${why}`),
    ),
    ...section(
      io,
      "Could not be used",
      problems.map(({ file, why }) => `${file} ${why}`),
    ),
    "",
    dryRun
      ? "Next  ./portreeve import openclaw, with this gateway stopped"
      : "Next  ./portreeve gateway run, then connect each device with the secret once. Guide: docs/guides/moving-from-openclaw.md",
  ].join("\n");
}

function showPart(io: Pick<Io, "hasColour">, name: string, { imported, left }: Part): readonly string[] {
  const came = imported.map(({ what, notes }) => (notes.length === 0 ? what : `${what} (${notes.join("; ")})`));
  const stayed = left.map(({ what, why }) => `not ${what}: ${why}`);
  return section(io, name, [...came, ...stayed]);
}

function section(io: Pick<Io, "hasColour">, title: string, lines: readonly string[]): readonly string[] {
  // What a folder says may be anything: each line is made one, without what moves a terminal.
  return lines.length === 0 ? [] : ["", bold(io, title), ...lines.map((line) => `  ${oneLine(line, 300)}`)];
}

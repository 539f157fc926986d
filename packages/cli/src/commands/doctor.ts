/** `doctor`: looks at the state folder and the configuration, with a gateway or without, and says what cures what it finds. */
import { access } from "node:fs/promises";
import { join, resolve } from "node:path";
import { openDeviceKey } from "@portreeve/client";
import type { Examination, Finding, OwnClient } from "@portreeve/gateway/doctor";
import { findHome, type Home } from "@portreeve/gateway/home";
import type { Command } from "commander";
import { ceiling } from "../access.ts";
import { withExamples } from "../connecting.ts";
import { CliError } from "../exit.ts";
import { findConfigFile } from "../named-config.ts";
import { bold, dim, oneLine, writeJson, writeLine, type Io } from "../output.ts";

interface DoctorFlags {
  readonly config?: string;
  readonly state?: string;
  readonly json?: boolean;
}

export function addDoctor(program: Command, io: Io): void {
  const command = program.command("doctor").description("look for what is wrong with this gateway, and say what cures it; changes nothing");
  command
    .option("--config <file>", "configuration file (default: config.json5 in the home, which may be missing)")
    .option("--state <dir>", "state folder (default: state in the home)")
    .option("--json", "print JSON; errors too, on standard error");
  withExamples(command, "./portreeve doctor", "./portreeve doctor --json --state /srv/portreeve/state");
  command.action((flags: DoctorFlags) => runDoctor(io, flags));
}

async function runDoctor(io: Io, flags: DoctorFlags): Promise<void> {
  const home = findHome(io.env);
  const { examine } = await import("@portreeve/gateway/doctor");
  const examination = await examine({
    configFile: await findConfigFile(io, home, flags.config),
    stateDir: flags.state === undefined ? home.stateDir : resolve(io.cwd, flags.state),
    env: io.env,
    own: await findOwn(home),
    nowMs: Date.now(),
  });
  if (flags.json === true) writeJson(io, examination);
  else writeLine(io, examination.findings.map((finding) => showFinding(io, finding)).join("\n"));
  const problems = examination.findings.filter(({ status }) => status === "problem").length;
  if (problems > 0) throw problemsFound(problems, examination);
}

function problemsFound(count: number, { findings }: Examination): CliError {
  const first = findings.find(({ status }) => status === "problem")?.cure;
  return new CliError("failed", `${count} problem${count === 1 ? "" : "s"} found.`, {
    code: "PROBLEMS_FOUND",
    ...(first === undefined ? {} : { remedy: `Begin with: ${first}` }),
  });
}

/** The key of this home's command line, if it has one; none is made. */
async function findOwn({ cliDir }: Home): Promise<OwnClient | undefined> {
  const file = join(cliDir, "device.pem");
  try {
    await access(file);
    return { deviceId: (await openDeviceKey(file)).id, scopes: ceiling, tokensFile: join(cliDir, "tokens.json") };
  } catch {
    return undefined;
  }
}

function showFinding(io: Io, { check, status, text, cure }: Finding): string {
  const word = status === "problem" ? bold(io, "PROBLEM") : dim(io, status.padEnd(7));
  const line = `${word}  ${check}: ${oneLine(text, 400)}`;
  return cure === undefined ? line : `${line}\n         cure: ${oneLine(cure, 400)}`;
}

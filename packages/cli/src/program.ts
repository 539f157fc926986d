/** The commands, their help, and what one run of the program comes to. */
import { Command, CommanderError } from "commander";
import manifest from "../package.json" with { type: "json" };
import { addAcp } from "./commands/acp.ts";
import { addAgent } from "./commands/agent.ts";
import { addApprovals } from "./commands/approvals.ts";
import { addAudit } from "./commands/audit.ts";
import { addBackup } from "./commands/backup.ts";
import { addCall } from "./commands/call.ts";
import { addCron } from "./commands/cron.ts";
import { addDemo } from "./commands/demo.ts";
import { addDevices } from "./commands/devices.ts";
import { addGateways } from "./commands/gateways.ts";
import { addDoctor } from "./commands/doctor.ts";
import { addGateway } from "./commands/gateway.ts";
import { addImport } from "./commands/import.ts";
import { addLogs } from "./commands/logs.ts";
import { addNodes } from "./commands/nodes.ts";
import { addPair } from "./commands/pair.ts";
import { addUsage } from "./commands/usage.ts";
import { addQueries } from "./commands/queries.ts";
import { addRuns } from "./commands/runs.ts";
import { CliError, exitCodes, reportFailure, toFailure } from "./exit.ts";
import { nameHomeTrouble } from "./home-trouble.ts";
import { createProcessIo, type Io } from "./output.ts";

const about = `A self-hosted gateway for AI agents: every client a paired device, every sub-agent a durable run.`;

const after = `
The gateway is found by --url and --token, else PORTREEVE_URL and PORTREEVE_TOKEN, else the home
(PORTREEVE_HOME, default ~/.portreeve).

Exit codes:
${Object.values(exitCodes)
  .map(({ code, meaning }) => `  ${code}  ${meaning}`)
  .join("\n")}

Examples:
  ./portreeve demo                            see it work, with nothing set up
  ./portreeve gateway run                     start the gateway
  ./portreeve agent "What is in this folder?"
  ./portreeve runs                            what agents do and did, and how to stop it
  ./portreeve devices                         who is paired, who waits`;

/** The whole command tree; `io` is used by actions only, so help needs none. */
export function createProgram(io: Io = createProcessIo()): Command {
  const program = new Command("portreeve");
  program
    .description(about)
    .version(manifest.version, "-V, --version", "print the version")
    .exitOverride()
    .configureOutput({ writeOut: (text) => io.out(text), writeErr: (text) => io.err(text), outputError: () => undefined })
    .addHelpText("after", after);
  addGateway(program, io);
  addAgent(program, io);
  addAcp(program, io);
  addDevices(program, io);
  addPair(program, io);
  addGateways(program, io);
  addQueries(program, io);
  addLogs(program, io);
  addNodes(program, io);
  addApprovals(program, io);
  addUsage(program, io);
  addRuns(program, io);
  addCron(program, io);
  addAudit(program, io);
  addDoctor(program, io);
  addBackup(program, io);
  addImport(program, io);
  addCall(program, io);
  addDemo(program, io);
  return program;
}

/** Runs one command line. Answers the exit code; never throws. */
export async function run(args: readonly string[], io: Io): Promise<number> {
  const program = createProgram(io);
  try {
    await program.parseAsync([...args], { from: "user" });
    return exitCodes.ok.code;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return exitCodes.ok.code;
    // A command that only groups others has printed its help.
    if (error instanceof CommanderError && error.code === "commander.help") return exitCodes.usage.code;
    const failure = toFailure(await nameHomeTrouble(error, io.env));
    const remedy = error instanceof CommanderError ? `See \`${findHelp(program, args)}\`.` : failure.remedy;
    return reportFailure(io, { ...failure, remedy }, args.includes("--json"));
  }
}

/** The help of the command that `args` begin with. Pure. */
function findHelp(program: Command, args: readonly string[]): string {
  let command = program;
  const words: string[] = [];
  for (const arg of args) {
    const next = command.commands.find((child) => child.name() === arg);
    if (next === undefined) break;
    words.push(arg);
    command = next;
  }
  return ["./portreeve", ...words, "--help"].join(" ");
}

/** Runs the process's command line and ends the process. */
export async function runProcess(args: readonly string[]): Promise<void> {
  // Whoever reads our output may stop early, as `head` does.
  process.stdout.on("error", ({ code, message }: NodeJS.ErrnoException) => {
    if (code === "EPIPE") process.exit(exitCodes.ok.code);
    const remedy = "Free space where it is written to, or send it elsewhere.";
    process.exit(
      reportFailure(
        createProcessIo(),
        toFailure(new CliError("failed", `standard output cannot be written (${code ?? message}).`, { code: "OUTPUT_LOST", remedy })),
        args.includes("--json"),
      ),
    );
  });
  const code = await run(args, createProcessIo());
  await new Promise<void>((resolve) => void process.stdout.write("", () => resolve()));
  // A socket whose peer does not answer the close would keep the process for seconds.
  process.exit(code);
}

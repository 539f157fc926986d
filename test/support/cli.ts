/** The command line in this process, on a home of its own, beside a gateway that runs on the same home. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "../../packages/cli/src/program.ts";
import { findHome } from "../../packages/gateway/src/kit/home.ts";
import { runGateway, type RunningGateway } from "../../packages/gateway/src/main.ts";

export interface CliOutcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export interface CliHome extends AsyncDisposable {
  readonly path: string;
  readonly gateway: RunningGateway;
  /** Runs one command; `env` is added to the home's. */
  cli(args: readonly string[], env?: Readonly<Record<string, string>>): Promise<CliOutcome>;
}

/** A fresh home with a running gateway. */
export async function openHome(config: object = {}): Promise<CliHome> {
  const path = await mkdtemp(join(tmpdir(), "portreeve-cli-"));
  await writeFile(join(path, "config.json5"), JSON.stringify(config));
  const { configFile, stateDir, workspaceDir } = findHome({ PORTREEVE_HOME: path });
  const env = { PORTREEVE_CHECK_RESULTS: "1" };
  const gateway = await runGateway({ configFile, stateDir, workspaceDir, port: 0, env, logLevel: "silent" });
  return {
    path,
    gateway,
    cli: (args, more = {}) => runCli(args, { PORTREEVE_HOME: path, ...more }),
    async [Symbol.asyncDispose]() {
      await gateway[Symbol.asyncDispose]();
      await rm(path, { recursive: true, force: true });
    },
  };
}

export async function runCli(args: readonly string[], env: Readonly<Record<string, string>>): Promise<CliOutcome> {
  let [out, err] = ["", ""];
  const code = await run(args, {
    env,
    cwd: tmpdir(),
    isTerminal: false,
    hasColour: false,
    ask: undefined,
    lines: async function* () {},
    out: (text) => void (out += text),
    err: (text) => void (err += text),
    interrupted: () => new AbortController().signal,
  });
  return { code, out, err };
}

/** A home of the `openclaw` command line that nothing has been done in, pointed at the gateway. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Generation, openclaw } from "./installation.ts";
import { type Ended, runProcess, startProcess, type RunningProcess } from "./process.ts";

export interface OpenclawHome {
  readonly folder: string;
  readonly env: Readonly<Record<string, string>>;
  /** `--url` and `--token`, for the commands that take them. */
  readonly access: readonly string[];
  run(...args: readonly string[]): Promise<Ended>;
  start(...args: readonly string[]): RunningProcess;
  /** The file and arguments of a command, for a terminal. */
  command(...args: readonly string[]): { readonly file: string; readonly args: readonly string[] };
}

/** What a home is made from: a rig, or any gateway and a place for folders. */
interface Ground {
  folder(): Promise<string>;
  readonly gateway: { readonly url: string; readonly token: string };
}

export async function openOpenclawHome(ground: Ground, generation: Generation): Promise<OpenclawHome> {
  const folder = await ground.folder();
  const { url, token } = ground.gateway;
  const [stateDir, configFile] = [join(folder, "state"), join(folder, "openclaw.json")];
  await mkdir(stateDir, { recursive: true });
  await writeFile(configFile, JSON.stringify({ gateway: { mode: "remote", remote: { url, token } } }));
  const env = {
    PATH: process.env["PATH"] ?? "",
    HOME: folder,
    OPENCLAW_STATE_DIR: stateDir,
    OPENCLAW_CONFIG_PATH: configFile,
    NO_COLOR: "1",
    TERM: "xterm-256color",
  };
  const command: OpenclawHome["command"] = (...args) => ({ file: process.execPath, args: [openclaw(generation), ...args] });
  return {
    folder,
    env,
    access: ["--url", url, "--token", token],
    run: (...args) => runProcess(process.execPath, command(...args).args, { env, cwd: folder }),
    start: (...args) => startProcess(process.execPath, command(...args).args, { env, cwd: folder }),
    command,
  };
}

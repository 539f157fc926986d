/** Where things are: the home folder and what lies in it. */
import { homedir } from "node:os";
import { join, resolve } from "node:path";

export interface Home {
  readonly root: string;
  readonly configFile: string;
  /** Database, lock, secret, gateway key, token key. Folder 0700, files 0600. */
  readonly stateDir: string;
  /** The shared secret, when the gateway generated it. */
  readonly secretFile: string;
  /** The CLI's device key and its tokens, by gateway key. */
  readonly cliDir: string;
  /** The default workspace of the agent `main`; never the current folder. */
  readonly workspaceDir: string;
}

/** The home that `env` names (`PORTREEVE_HOME`, else `~/.portreeve`). Touches nothing. */
export function findHome(env: Readonly<Record<string, string | undefined>>): Home {
  const root = resolve(env["PORTREEVE_HOME"] || join(homedir(), ".portreeve"));
  return {
    root,
    configFile: join(root, "config.json5"),
    stateDir: join(root, "state"),
    secretFile: secretFileIn(join(root, "state")),
    cliDir: join(root, "cli"),
    workspaceDir: join(root, "workspace"),
  };
}

export function secretFileIn(stateDir: string): string {
  return join(stateDir, "secret");
}

/** Where a running gateway says its URL and process id. */
export function runningFileIn(stateDir: string): string {
  return join(stateDir, "gateway.json");
}

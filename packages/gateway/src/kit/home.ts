/** Where things are: the home folder and what lies in it. */
import { mkdir, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";

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

/** Of sub-agents, a folder each. */
export function attachmentsIn(stateDir: string): string {
  return join(stateDir, "attachments");
}

/** Where a running gateway says its URL and process id. */
export function runningFileIn(stateDir: string): string {
  return join(stateDir, "gateway.json");
}

/**
 * Makes a folder that only its owner may enter, and the folders above it that are missing.
 * NOTE: not `recursive`: Node never returns from that on a file system that answers ENOENT to everything, such as /proc.
 */
export async function makePrivateFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "EEXIST") return;
    if (code !== "ENOENT" || (await isFolder(dirname(path)))) throw error;
    await makePrivateFolder(dirname(path));
    await mkdir(path, { mode: 0o700 });
  }
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

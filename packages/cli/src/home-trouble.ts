/** What stands in the way of the home (`PORTREEVE_HOME`), in place of what the system said of one path in it. */
import { stat } from "node:fs/promises";
import { dirname, relative } from "node:path";
import { findHome } from "@portreeve/gateway/home";
import { CliError } from "./exit.ts";
import type { Io } from "./output.ts";

interface SystemError extends Error {
  readonly code: string;
  readonly path: string;
}

const anotherHome = "or name another folder as the home: PORTREEVE_HOME=DIR ./portreeve …";

/** The error itself when it is about something else, or says already what helps. */
export async function nameHomeTrouble(error: unknown, env: Io["env"]): Promise<unknown> {
  const { root, cliDir, stateDir } = findHome(env);
  const found = findSystemError(error);
  if (found === undefined || !isWithin(root, found.path)) return error;
  const file = found.code === "ENOTDIR" || found.code === "EEXIST" ? await findFile(found.path) : undefined;
  // A folder that a flag names is the flag's.
  if (file !== undefined && (isWithin(file, root) || file === cliDir || file === stateDir))
    return trouble(
      `${root} cannot be used as the home: ${file} is a file, and a folder was expected.`,
      `Move it away (mv ${file} ${file}.old), ${anotherHome}`,
      error,
    );
  if (error !== found) return error;
  if (/^(EACCES|EPERM|EROFS)$/.test(found.code))
    return trouble(
      `This user may not use ${found.path} (${found.code}).`,
      `Make the home this user's (whose it is: ls -ld ${root}), ${anotherHome}`,
      error,
    );
  if (/^(ENOSPC|EDQUOT)$/.test(found.code))
    return trouble(`The disk of ${root} is full (${found.code}).`, `Free space there (df -h ${root}), ${anotherHome}`, error);
  return error;
}

function trouble(message: string, remedy: string, cause: unknown): CliError {
  return new CliError("failed", message, { code: "HOME_UNUSABLE", remedy, cause });
}

/** The error, or what caused it. */
function findSystemError(error: unknown): SystemError | undefined {
  if (!(error instanceof Error)) return undefined;
  return isSystemError(error) ? error : findSystemError(error.cause);
}

function isSystemError(error: Error): error is SystemError {
  return "syscall" in error && "code" in error && typeof error.code === "string" && "path" in error && typeof error.path === "string";
}

function isWithin(root: string, path: string): boolean {
  return !/^\.\.(\/|$)/.test(relative(root, path));
}

/** The path itself, or the nearest above it that is there, when that is no folder. */
async function findFile(path: string): Promise<string | undefined> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined) return dirname(path) === path ? undefined : findFile(dirname(path));
  return found.isDirectory() ? undefined : path;
}

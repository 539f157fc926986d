/** The configuration file that a command works with. */
import { access } from "node:fs/promises";
import { resolve } from "node:path";
import type { Home } from "@portreeve/gateway/home";
import { usageError } from "./exit.ts";
import type { Io } from "./output.ts";

/** The home's own may be missing, and is then an empty one. @throws CliError when one is named and not there. */
export async function findConfigFile(io: Io, home: Home, named: string | undefined): Promise<string> {
  if (named === undefined) return home.configFile;
  const path = resolve(io.cwd, named);
  const isThere = await access(path).then(
    () => true,
    (error: unknown) => !(error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR")),
  );
  if (isThere) return path;
  throw usageError(
    `There is no configuration file ${path}, which --config names.`,
    `Name one that is there, or leave --config out: then it is ${home.configFile}, which may be missing.`,
  );
}

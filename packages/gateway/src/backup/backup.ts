/**
 * Takes a backup of a state folder, beside a running gateway or without one. It is taken by whoever can read the state folder
 * and never over the network: no device, whatever its scopes, can make a gateway hand out its keys.
 */
import { lstat, realpath, rename, writeFile } from "node:fs/promises";
import { dirname, join, resolve, sep } from "node:path";
import packageJson from "../../package.json" with { type: "json" };
import { findUnsoundness } from "../doctor/soundness.ts";
import { isFullDisk } from "../kit/full-disk.ts";
import { copyDatabase, countRows } from "../store/restoring.ts";
import { BackupError } from "./backup-error.ts";
import { readGatewayId } from "./gateway-id.ts";
import { copyAttachments, copyPrivate, makePrivateFile, measure, nameFullDisk, openDraft, sync, syncFolder } from "./files.ts";
import { backupFiles, createManifest, type Manifest, manifestFile } from "./manifest.ts";

export { BackupError } from "./backup-error.ts";
export type { Manifest } from "./manifest.ts";
export { restoreBackup, type Restored } from "./restore.ts";

export interface BackupOptions {
  readonly stateDir: string;
  readonly configFile: string;
  /** The folder to make. */
  readonly target: string;
  readonly nowMs: number;
}

/** Writes the backup folder; it has its name when it is complete, checked and on disk. @throws BackupError; then nothing is left of it. */
export function takeBackup(options: BackupOptions): Promise<Manifest> {
  return nameFullDisk(dirname(options.target), "./portreeve backup FOLDER", writeBackup(options));
}

async function writeBackup({ stateDir, configFile, target, nowMs }: BackupOptions): Promise<Manifest> {
  await assertPlace(stateDir, target);
  await using draft = await openDraft(target);
  await copyState({ stateDir, configFile, draft: draft.path });
  const { problems, schema, audit } = await findUnsoundness(draft.path, nowMs);
  if (problems.length > 0)
    throw new BackupError(
      "STATE_DAMAGED",
      `the state is not fit to be restored: ${problems.join("; ")}`,
      "See what cures it: ./portreeve doctor",
    );
  const manifest = createManifest({
    version: packageJson.version,
    schema,
    createdAtMs: nowMs,
    gatewayId: await readGatewayId(draft.path),
    counts: countRows(draft.path),
    audit,
    files: await measure(draft.path),
  });
  await writeFile(join(draft.path, manifestFile), `${JSON.stringify(manifest, null, 2)}\n`, { mode: 0o600, flag: "wx" });
  await syncFolder(draft.path);
  await rename(draft.path, target);
  await sync(dirname(target));
  return manifest;
}

async function assertPlace(stateDir: string, target: string): Promise<void> {
  if (`${resolve(target)}${sep}`.startsWith(`${resolve(stateDir)}${sep}`))
    throw new BackupError("NOT_WRITABLE", `${target} lies in the state folder itself`, "Name a place outside it.");
  const exists = await lstat(target).then(
    () => true,
    () => false,
  );
  if (exists) throw new BackupError("BACKUP_EXISTS", `${target} is there already`, "Name another folder: ./portreeve backup FOLDER");
}

async function copyState({ stateDir, configFile, draft }: { stateDir: string; configFile: string; draft: string }): Promise<void> {
  const hasKey = await copyPrivate(join(stateDir, "gateway-key.pem"), join(draft, "gateway-key.pem"));
  const hasDatabase = await lstat(join(stateDir, "portreeve.db")).then(
    (found) => found.isFile(),
    () => false,
  );
  if (!hasKey || !hasDatabase)
    throw new BackupError(
      "NO_STATE",
      `${stateDir} holds no state of a gateway`,
      "Name the state folder itself: --state ~/.portreeve/state",
    );
  // Who keeps the configuration elsewhere has a link here, which a change of it follows too.
  const config = await realpath(configFile).catch(() => configFile);
  for (const name of backupFiles) {
    if (name === "gateway-key.pem") continue;
    if (name === "portreeve.db") await copyWhole(stateDir, join(draft, name));
    else await copyPrivate(name === "config.json5" ? config : join(stateDir, name), join(draft, name));
  }
  // After the database: the files of every child that it knows were there before the child was.
  await copyAttachments(stateDir, draft);
}

async function copyWhole(stateDir: string, target: string): Promise<void> {
  await makePrivateFile(target);
  try {
    copyDatabase(stateDir, target);
  } catch (error) {
    if (isFullDisk(error)) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new BackupError("STATE_DAMAGED", `the database cannot be read: ${reason}`, "See what cures it: ./portreeve doctor", error);
  }
}

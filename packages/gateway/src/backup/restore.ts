/** Restores a backup: copies it, judges the copy, makes it fit for today, and only then puts it where the state is. */
import { lstat, readdir, readFile, rename, rm, rmdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { findUnsoundness } from "../doctor/soundness.ts";
import { isFullDisk } from "../kit/full-disk.ts";
import { makePrivateFolder } from "../kit/home.ts";
import { type Ended, readSinceThen, settleRestored, type SinceThen } from "../store/restoring.ts";
import { StateFolderError } from "../store/folder-error.ts";
import { lockStateFolder } from "../store/sqlite.ts";
import { BackupError } from "./backup-error.ts";
import { copyPrivate, measure, nameFullDisk, notWritable, openDraft, sync, syncFolder } from "./files.ts";
import { findDamage, type Manifest, manifestFile, parseManifest, writtenByNewer } from "./manifest.ts";
import { readGatewayId } from "./gateway-id.ts";

export interface RestoreOptions {
  readonly folder: string;
  readonly stateDir: string;
  readonly configFile: string;
  /** Replaces what is in the state folder, which is kept aside. */
  readonly force: boolean;
  readonly nowMs: number;
}

export interface Restored {
  readonly manifest: Manifest;
  /** Where the state that was replaced is kept. */
  readonly aside: string | undefined;
  /** `kept`: the one that was there stays, being the newer one. */
  readonly secret: "restored" | "kept" | "none";
  readonly config: "restored" | "kept" | "none";
  /** `unknown`: nothing says what was removed or revoked since the backup. */
  readonly since: "known" | "unknown";
  readonly ended: Ended;
}

/** @throws BackupError; then nothing was replaced. */
export function restoreBackup(options: RestoreOptions): Promise<Restored> {
  return nameFullDisk(dirname(options.stateDir), "./portreeve restore FOLDER", writeState(options));
}

async function writeState(options: RestoreOptions): Promise<Restored> {
  const { folder, stateDir, configFile, force, nowMs } = options;
  const manifest = await readManifest(folder);
  const isReplacing = await assertReplaceable(stateDir, force);
  using _lock = isReplacing ? lock(stateDir) : undefined;
  await makeParent(stateDir);
  await using draft = await openDraft(stateDir);

  await copyBackup(folder, draft.path, manifest);
  await assertSound(draft.path, nowMs);
  const since = isReplacing ? await findSince(stateDir, manifest) : undefined;
  const ended = await settle(draft.path, { gatewayId: manifest.gatewayId, backupAtMs: manifest.createdAtMs, since }, nowMs);
  await assertSound(draft.path, nowMs);
  const keepsSecret = isReplacing && (await keepNewerSecret(stateDir, draft.path));
  const hasConfig = manifest.files.some(({ name }) => name === "config.json5");
  const config = hasConfig ? await restoreConfig(draft.path, configFile) : "none";

  await syncFolder(draft.path);
  const aside = await replace({ stateDir, draft: draft.path, isReplacing, nowMs });
  const hasSecret = manifest.files.some(({ name }) => name === "secret");
  return {
    manifest,
    aside,
    secret: keepsSecret ? "kept" : hasSecret ? "restored" : "none",
    config,
    since: since === undefined ? "unknown" : "known",
    ended,
  };
}

async function readManifest(folder: string): Promise<Manifest> {
  try {
    return parseManifest(await readFile(join(folder, manifestFile), "utf8"));
  } catch (error) {
    if (error instanceof BackupError) throw error;
    throw new BackupError(
      "BACKUP_NOT_FOUND",
      `${folder} is no backup: it holds no ${manifestFile}`,
      "Name the folder that ./portreeve backup made.",
      error,
    );
  }
}

/** Whether there is something to replace. */
async function assertReplaceable(stateDir: string, force: boolean): Promise<boolean> {
  const names = await readdir(stateDir).catch((error: unknown) => {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw notWritable(stateDir, error);
  });
  if (names.length > 0 && !force)
    throw new BackupError(
      "STATE_NOT_EMPTY",
      `the state folder ${stateDir} is not empty`,
      "To replace it, and keep what is there beside it: ./portreeve restore FOLDER --force. Or give another place: --state DIR",
    );
  return names.length > 0;
}

function lock(stateDir: string): Disposable {
  try {
    return lockStateFolder(stateDir);
  } catch (error) {
    if (!(error instanceof StateFolderError)) throw error;
    throw new BackupError("STATE_IN_USE", error.message, "Stop that gateway first; no state is replaced under one that runs.", error);
  }
}

async function makeParent(stateDir: string): Promise<void> {
  try {
    await makePrivateFolder(dirname(stateDir));
  } catch (error) {
    throw notWritable(dirname(stateDir), error);
  }
}

/** What is judged and used is the copy: whatever happens to the backup meanwhile. */
async function copyBackup(folder: string, draft: string, manifest: Manifest): Promise<void> {
  for (const { name } of manifest.files) await copyPrivate(join(folder, name), join(draft, name));
  const damage = [...findDamage(manifest, await measure(draft))];
  if (damage.length === 0 && (await readGatewayId(draft)) !== manifest.gatewayId) damage.push("gateway-key.pem is another gateway's");
  if (damage.length > 0) throw damaged(damage);
}

async function assertSound(draft: string, nowMs: number): Promise<void> {
  const { problems, newer } = await findUnsoundness(draft, nowMs);
  if (newer.length > 0) throw writtenByNewer(`its database (${newer.join(", ")})`);
  if (problems.length > 0) throw damaged(problems);
}

async function settle(draft: string, restoring: Parameters<typeof settleRestored>[1], nowMs: number): Promise<Ended> {
  try {
    return await settleRestored(draft, restoring, nowMs);
  } catch (error) {
    if (isFullDisk(error)) throw error;
    throw damaged([error instanceof Error ? error.message : String(error)], error);
  }
}

function damaged(problems: readonly string[], cause?: unknown): BackupError {
  return new BackupError("BACKUP_DAMAGED", `the backup is not fit to be restored: ${problems.join("; ")}`, "Take an older backup.", cause);
}

/** Only the same gateway's state says anything of the same devices. */
async function findSince(stateDir: string, manifest: Manifest): Promise<SinceThen | undefined> {
  try {
    return (await readGatewayId(stateDir)) === manifest.gatewayId ? readSinceThen(stateDir) : undefined;
  } catch {
    // It may be damaged: that is why one restores.
    return undefined;
  }
}

/** A secret that was replaced since the backup was replaced for a reason. */
async function keepNewerSecret(stateDir: string, draft: string): Promise<boolean> {
  const [present, target] = [join(stateDir, "secret"), join(draft, "secret")];
  const text = await readFile(present, "utf8").catch(() => "");
  if (text.trim() === "") return false;
  await rm(target, { force: true });
  return copyPrivate(present, target);
}

/** A configuration that is there stays. The state folder keeps none. */
async function restoreConfig(draft: string, configFile: string): Promise<"restored" | "kept"> {
  const source = join(draft, "config.json5");
  const exists = await lstat(configFile).then(
    () => true,
    () => false,
  );
  if (!exists) {
    await copyPrivate(source, configFile);
    await sync(configFile);
  }
  await rm(source);
  return exists ? "kept" : "restored";
}

/** Answers where the old state is. */
async function replace(at: { stateDir: string; draft: string; isReplacing: boolean; nowMs: number }): Promise<string | undefined> {
  const { stateDir, draft, isReplacing, nowMs } = at;
  const aside = isReplacing ? `${stateDir}.before-restore-${new Date(nowMs).toISOString().replaceAll(/[:.]/g, "-")}` : undefined;
  try {
    if (aside !== undefined) await rename(stateDir, aside);
    else await rmdir(stateDir).catch(() => undefined);
    await rename(draft, stateDir).catch(async (error: unknown) => {
      if (aside !== undefined) await rename(aside, stateDir);
      throw error;
    });
    await sync(dirname(stateDir));
    return aside;
  } catch (error) {
    throw notWritable(stateDir, error);
  }
}

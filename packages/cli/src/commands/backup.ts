/** `backup` and `restore`: the state folder as a folder that can be put back. They read files; no gateway is asked. */
import { resolve } from "node:path";
import type { Manifest, Restored } from "@portreeve/gateway/backup";
import { findHome } from "@portreeve/gateway/home";
import type { Command } from "commander";
import { withExamples } from "../connecting.ts";
import { CliError } from "../exit.ts";
import { toMinute, writeJson, writeLine, type Io } from "../output.ts";

interface Places {
  readonly config?: string;
  readonly state?: string;
  readonly json?: boolean;
}

interface RestoreFlags extends Places {
  readonly force?: boolean;
}

export function addBackup(program: Command, io: Io): void {
  const backup = places(
    program
      .command("backup [folder]")
      .description("copy database, keys and configuration to a new folder, also while the gateway runs; it holds secrets"),
  );
  withExamples(backup, "./portreeve backup", "./portreeve backup /mnt/usb/portreeve-monday");
  backup.action((folder: string | undefined, flags: Places) => runBackup(io, folder, flags));

  const restore = places(
    program.command("restore <folder>").description("put a backup where the state is, after checking it; every device token ends"),
  ).option("--force", "replace a state that is there; it is kept beside the new one");
  withExamples(restore, "./portreeve restore portreeve-backup-20260601T120000Z", "./portreeve restore /mnt/usb/portreeve-monday --force");
  restore.action((folder: string, flags: RestoreFlags) => runRestore(io, folder, flags));
}

function places(command: Command): Command {
  return command
    .option("--config <file>", "configuration file (default: config.json5 in the home)")
    .option("--state <dir>", "state folder (default: state in the home)")
    .option("--json", "print JSON; errors too, on standard error");
}

async function runBackup(io: Io, folder: string | undefined, flags: Places): Promise<void> {
  const nowMs = Date.now();
  const target = resolve(io.cwd, folder ?? `portreeve-backup-${toStamp(nowMs)}`);
  const { takeBackup } = await import("@portreeve/gateway/backup");
  const manifest = await attempt(takeBackup({ ...findPlaces(io, flags), target, nowMs }));
  if (flags.json === true) writeJson(io, { folder: target, manifest });
  else writeLine(io, showBackup(target, manifest));
}

async function runRestore(io: Io, folder: string, flags: RestoreFlags): Promise<void> {
  const { restoreBackup } = await import("@portreeve/gateway/backup");
  const options = { ...findPlaces(io, flags), folder: resolve(io.cwd, folder), force: flags.force === true, nowMs: Date.now() };
  const restored = await attempt(restoreBackup(options));
  if (flags.json === true) writeJson(io, { state: options.stateDir, ...restored });
  else writeLine(io, showRestored(options.stateDir, restored));
}

function findPlaces(io: Io, { config, state }: Places): { readonly stateDir: string; readonly configFile: string } {
  const home = findHome(io.env);
  return {
    stateDir: state === undefined ? home.stateDir : resolve(io.cwd, state),
    configFile: config === undefined ? home.configFile : resolve(io.cwd, config),
  };
}

async function attempt<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof Error && error.name === "BackupError" && "code" in error && "remedy" in error)) throw error;
    throw new CliError("failed", `${error.message}.`, { code: String(error.code), remedy: String(error.remedy), cause: error });
  }
}

/** Pure. */
function showBackup(target: string, { counts, audit, schema, files }: Manifest): string {
  return [
    `Backup   ${target}`,
    `Holds    ${showCounts(counts)}, ${audit.rows} audit rows (schema ${schema})`,
    `Head     ${audit.head}   of the audit; noted elsewhere, it tells a forged backup`,
    `Secrets  ${files.map(({ name }) => name).join(", ")}: keep it as you keep keys`,
    "Not in   workspaces, files the configuration names, and device tokens, which end with a restore",
  ].join("\n");
}

/** Pure. */
function showRestored(stateDir: string, { manifest, aside, secret, config, since, ended }: Restored): string {
  const { removedDevices, revokedGrants, narrowedGrants, disabledJobs } = ended;
  return [
    `Restored  ${stateDir}, as it was at ${toMinute(manifest.createdAtMs)}: ${showCounts(manifest.counts)}`,
    ...(aside === undefined ? [] : [`Kept      the state it replaces: ${aside}`]),
    `Secret    ${secretWords[secret]}`,
    `Config    ${configWords[config]}`,
    "Ended     every device token, open invitation, waiting request and approval for a time",
    since === "known"
      ? `Since     ${removedDevices.length} devices removed, ${revokedGrants} revoked and ${narrowedGrants.length} narrowed after the backup stay so`
      : "Since     what was removed or revoked after the backup is not known: look at ./portreeve devices, and remove it again",
    ...narrowedGrants.map(({ deviceId, role, scopes }) => `Narrowed  ${deviceId} as ${role} to ${scopes.join(", ")}`),
    ...(disabledJobs === 0
      ? []
      : [`Jobs      ${disabledJobs} disabled, of devices that hold less or nothing by now: ./portreeve cron list --all`]),
    "Next      ./portreeve gateway run. Devices sign in with the secret once more, or by ./portreeve devices invite.",
  ].join("\n");
}

const secretWords: Readonly<Record<Restored["secret"], string>> = {
  restored: "the backup's",
  kept: "the one that was in force stays",
  none: "none in the backup: from the configuration or the environment, else the next start makes one",
};

const configWords: Readonly<Record<Restored["config"], string>> = {
  restored: "the backup's",
  kept: "the one that is there stays; the backup's is in its folder",
  none: "none in the backup",
};

function showCounts({ sessions = 0, messages = 0, runs = 0, devices = 0 }: Manifest["counts"]): string {
  return `${sessions} sessions, ${messages} messages, ${runs} runs, ${devices} devices`;
}

/** Seconds, and no character that a shell or a file system minds. Pure. */
function toStamp(timeMs: number): string {
  return `${new Date(timeMs).toISOString().slice(0, 19).replaceAll(/[-:]/g, "")}Z`;
}

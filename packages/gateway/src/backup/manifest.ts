/** What a backup says of itself, and what it may hold. Pure. */
import { isRecord } from "@portreeve/protocol";
import { isAttachmentId, problemWithName } from "../kit/attachments.ts";
import { BackupError } from "./backup-error.ts";

/**
 * The files of a backup: everything that makes a gateway the same one again. The token key is not among them: device tokens
 * are derived from it, so with a new one no token of the time since the backup, rotated or revoked, can come to life.
 */
export const backupFiles = ["portreeve.db", "gateway-key.pem", "secret", "tls-key.pem", "tls-cert.pem", "config.json5"] as const;
/** A file that a sub-agent was handed: `attachments/<its folder>/<name>`. */
type AttachmentFile = `attachments/${string}`;
export type BackupFile = (typeof backupFiles)[number] | AttachmentFile;

/** One of the closed list, or a plain name in a folder that the gateway named: nothing else is ever read or written. */
export function isBackupFile(name: unknown): name is BackupFile {
  if (backupFiles.some((one) => one === name)) return true;
  const [root, folder = "", file = "", ...others] = String(name).split("/");
  return root === "attachments" && isAttachmentId(folder) && problemWithName(file) === undefined && others.length === 0;
}

export const manifestFile = "manifest.json";
const format = 1;

export interface Manifest {
  readonly format: typeof format;
  /** The version of Portreeve that wrote it. */
  readonly version: string;
  /** The newest migration in its database. */
  readonly schema: string;
  readonly createdAtMs: number;
  readonly gatewayId: string;
  readonly counts: Readonly<Record<string, number>>;
  /** Whoever noted it elsewhere can tell a forged backup. */
  readonly audit: { readonly rows: number; readonly head: string };
  readonly files: readonly FileFacts[];
}

export interface FileFacts {
  readonly name: BackupFile;
  readonly bytes: number;
  /** Hex. */
  readonly sha256: string;
}

export function createManifest(facts: Omit<Manifest, "format">): Manifest {
  return { format, ...facts };
}

/** @throws BackupError when `text` is no manifest of ours. */
export function parseManifest(text: string): Manifest {
  const value = parseJson(text);
  if (isRecord(value) && typeof value["format"] === "number" && value["format"] > format) throw writtenByNewer("its format");
  if (!isManifest(value))
    throw new BackupError("BACKUP_DAMAGED", `${manifestFile} is not what a backup says of itself`, "Take another backup.");
  return value;
}

export function writtenByNewer(what: string): BackupError {
  const message = `the backup was written by a newer version of Portreeve: this one does not know ${what}`;
  return new BackupError("BACKUP_NEWER", message, "Restore it with that version, or a later one.");
}

/** What differs between the files as they are and as the manifest has them. */
export function findDamage(manifest: Manifest, found: readonly FileFacts[]): readonly string[] {
  return manifest.files.flatMap(({ name, bytes, sha256 }) => {
    const file = found.find((one) => one.name === name);
    if (file === undefined) return [`${name} is missing`];
    if (file.bytes !== bytes) return [`${name} has ${file.bytes} bytes, ${bytes} were written`];
    return file.sha256 === sha256 ? [] : [`${name} was changed`];
  });
}

function isManifest(value: unknown): value is Manifest {
  if (!isRecord(value)) return false;
  const { version, schema, createdAtMs, gatewayId, counts, audit, files } = value;
  return (
    value["format"] === format &&
    [version, schema, gatewayId].every((one) => typeof one === "string") &&
    Number.isInteger(createdAtMs) &&
    isRecord(counts) &&
    Object.values(counts).every(Number.isInteger) &&
    isRecord(audit) &&
    Number.isInteger(audit["rows"]) &&
    typeof audit["head"] === "string" &&
    Array.isArray(files) &&
    files.every(isFile) &&
    new Set(files.map(({ name }) => name)).size === files.length &&
    (["portreeve.db", "gateway-key.pem"] as const).every((name) => files.some((file) => file.name === name))
  );
}

function isFile(value: unknown): value is FileFacts {
  return isRecord(value) && isBackupFile(value["name"]) && Number.isInteger(value["bytes"]) && typeof value["sha256"] === "string";
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

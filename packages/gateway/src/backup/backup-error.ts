export type BackupErrorCode =
  | "NO_STATE"
  | "STATE_DAMAGED"
  | "STATE_IN_USE"
  | "STATE_NOT_EMPTY"
  | "BACKUP_EXISTS"
  | "BACKUP_NOT_FOUND"
  | "BACKUP_DAMAGED"
  | "BACKUP_NEWER"
  | "NOT_WRITABLE";

/** A backup cannot be taken or restored; nothing was replaced. Message and remedy are for a person. */
export class BackupError extends Error {
  override readonly name = "BackupError";
  readonly code: BackupErrorCode;
  readonly remedy: string;

  constructor(code: BackupErrorCode, message: string, remedy: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.remedy = remedy;
  }
}

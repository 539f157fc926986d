/** Why an import does not take place, in one line, and what to do. */
export class ImportError extends Error {
  override readonly name = "ImportError";
  readonly code: "SOURCE_NOT_FOUND" | "CONFIG_UNUSABLE" | "STATE_IN_USE" | "STATE_UNWRITABLE";
  readonly remedy: string;

  constructor(code: ImportError["code"], message: string, remedy: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.remedy = remedy;
  }
}

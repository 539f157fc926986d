/** A file of this client that is not what it wrote: never overwritten, and never taken for an empty one. */
export class DamagedFileError extends Error {
  override readonly name = "DamagedFileError";
  /** What helps, and what it costs. */
  readonly remedy: string;

  constructor(file: string, facts: { readonly expected: string; readonly remedy: string; readonly cause?: unknown }) {
    super(`${file}: expected ${facts.expected}`, facts.cause === undefined ? undefined : { cause: facts.cause });
    this.remedy = facts.remedy;
  }
}

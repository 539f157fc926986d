/** What is left of content that nobody keeps: how much it was, and its digest. */
import { createHash } from "node:crypto";

export interface Withheld {
  readonly redacted: true;
  readonly bytes: number;
  /** Hex. */
  readonly sha256: string;
}

export function withhold(content: Uint8Array): Withheld {
  return { redacted: true, bytes: content.length, sha256: createHash("sha256").update(content).digest("hex") };
}

/** A secret as a type: it does not print, serialise or compare by accident. */
import { createHash, timingSafeEqual } from "node:crypto";
import { inspect } from "node:util";

const shown = "[secret]";

export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  /** The value itself, for the one destination it has. */
  reveal(): string {
    return this.#value;
  }

  /** Whether `candidate` is the secret; takes the same time wherever they differ, and whatever their lengths. */
  equals(candidate: string): boolean {
    return timingSafeEqual(sha256(this.#value), sha256(candidate));
  }

  /** SHA-256, hex: tells whether two secrets are the same one. */
  digest(): string {
    return sha256(this.#value).toString("hex");
  }

  toString(): string {
    return shown;
  }

  toJSON(): string {
    return shown;
  }

  [inspect.custom](): string {
    return shown;
  }
}

function sha256(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

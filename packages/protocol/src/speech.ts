/** What a run says, for a reader from whom nothing can be taken back: each piece is given out once, in order. Pure. */

/** The most that is given out at once, in UTF-16 units: a reader that is slow gets it in pieces. */
const pieceUnits = 16_384;

export class Speech {
  /** The reply being spoken, as far as it is given out or waits to be. */
  #reply = "";
  #pending = "";
  #isBelow = false;
  #hasSpoken = false;

  /** The reply as it stands: it extends the one before it, is a failed attempt's begun again, or is another one. */
  hear(text: string): void {
    // An attempt that begins again says, at first, what is there already.
    if (this.#reply.startsWith(text)) return;
    this.#say(text);
  }

  /** What follows is another reply, even if it begins with the same words. */
  endReply(): void {
    this.#reply = "";
    this.#isBelow = this.#hasSpoken;
  }

  /** The run's answer, whatever of it was heard. */
  finish(answer: string): void {
    if (answer !== "" && answer !== this.#reply) this.#say(answer);
  }

  /** The next piece to give out; empty: there is none yet. */
  take(): string {
    const end =
      this.#pending.length <= pieceUnits ? this.#pending.length : pieceUnits - (isHighSurrogate(this.#pending, pieceUnits - 1) ? 1 : 0);
    const piece = this.#pending.slice(0, end);
    this.#pending = this.#pending.slice(end);
    return piece;
  }

  #say(text: string): void {
    const extends_ = !this.#isBelow && text.startsWith(this.#reply);
    const more = extends_ ? text.slice(this.#reply.length) : text;
    this.#pending += extends_ || !this.#hasSpoken ? more : `\n\n${more}`;
    [this.#reply, this.#isBelow, this.#hasSpoken] = [text, false, true];
  }
}

function isHighSurrogate(text: string, index: number): boolean {
  const unit = text.charCodeAt(index);
  return unit >= 0xd8_00 && unit <= 0xdb_ff;
}

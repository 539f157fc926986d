/** How much of a stream of events whoever reads it has to hold at once: a line, and an event, is kept until its end has come. */

export const mostOfEvent = 8_388_608;

const newline = 10;

export class EventBound {
  #eventBytes = 0;
  #lineBytes = 0;

  /** Takes the next piece; false: an event is larger than any that a model sends. */
  allows(piece: Uint8Array): boolean {
    for (let at = 0; at < piece.length;) {
      const end = piece.indexOf(newline, at);
      const next = end === -1 ? piece.length : end + 1;
      this.#eventBytes += next - at;
      this.#lineBytes += next - at;
      if (this.#eventBytes > mostOfEvent) return false;
      if (end !== -1) this.#endLine();
      at = next;
    }
    return true;
  }

  /** An empty line ends an event; nothing that fits beside a carriage return is worth to be told from one. */
  #endLine(): void {
    if (this.#lineBytes <= 2) this.#eventBytes = 0;
    this.#lineBytes = 0;
  }
}

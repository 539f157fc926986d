/** The part of `text` between two places, without half a character at either end: providers refuse a text that holds one. Pure. */
export function cutText(text: string, start: number, end: number): string {
  return text.slice(isInCharacter(text, start) ? start + 1 : start, isInCharacter(text, end) ? end - 1 : end);
}

/** Between the two units of one character. */
function isInCharacter(text: string, at: number): boolean {
  return at > 0 && (text.codePointAt(at - 1) ?? 0) > 0xffff;
}

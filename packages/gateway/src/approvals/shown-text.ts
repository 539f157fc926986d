/** Text as an approver is shown it: in full, on one line, with nothing in it that hides, reorders or imitates. Pure. */

/** Controls, formats (bidi, zero-width, tags), line and paragraph ends, lone surrogates, what has no meaning, and every blank but the space. */
const unseen = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}\p{Cn}\u115f\u1160\u3164\uffa0]|(?! )\p{Zs}/u;
const everyUnseen = new RegExp(unseen, "gu");

/** What a shell takes as one word as it stands. */
const plainWord = /^[A-Za-z0-9_@%+=:,./-]+$/;

/** A program and its arguments as one line that a shell would read back as exactly these words. */
export function shownArgv(argv: readonly string[]): string {
  return argv.map((word) => (plainWord.test(word) ? word : quote(word))).join(" ");
}

/** Text as it stands where every character of it can be seen and it does not look quoted itself, and quoted where not. */
export function shownText(text: string): string {
  return unseen.test(text) || text !== text.trim() || /^\$?'/.test(text) ? quote(text) : text;
}

function quote(text: string): string {
  if (!unseen.test(text)) return `'${text.replaceAll("'", String.raw`'\''`)}'`;
  const escaped = text.replaceAll(/[\\']/g, String.raw`\$&`).replaceAll(everyUnseen, toEscape);
  return `$'${escaped}'`;
}

function toEscape(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  return code > 0xffff ? `\\U${code.toString(16).padStart(8, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
}

/** Text that somebody wrote as a model reads it: data, with every tag escaped and nothing that hides or reorders it. Pure. */

/** Marked at every line: none of them can pass for a line of the message around it. */
export function toQuotedBody(text: string): string {
  return escapeQuoted(text).replaceAll(/^/gm, "> ");
}

export function toQuotedAttribute(text: string): string {
  return escapeQuoted(text).replaceAll("\n", "&#10;");
}

/** Ends of lines other than \n, controls, and what reorders or hides text: bidi, zero-width, tags. Joiners of scripts stay. */
const deceptive = /[\0-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\u{e0000}-\u{e007f}]/gu;

export function escapeQuoted(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;")
    .replaceAll(deceptive, (one) => `&#${one.codePointAt(0) ?? 0};`);
}

export function unescapeQuoted(text: string): string {
  return text
    .replaceAll(/&#(\d+);/g, (_match, code: string) => String.fromCodePoint(Number(code)))
    .replaceAll("&quot;", '"')
    .replaceAll("&gt;", ">")
    .replaceAll("&lt;", "<")
    .replaceAll("&amp;", "&");
}

/**
 * Text that somebody wrote as a model reads it: data, with every tag escaped and nothing that hides or reorders it. And as a
 * person reads it in a list or a log: it makes no line of its own. Pure.
 */

/** Marked at every line: none of them can pass for a line of the message around it. */
export function toQuotedBody(text: string): string {
  return escapeQuoted(text).replaceAll(/^/gm, "> ");
}

export function toQuotedAttribute(text: string): string {
  return escapeQuoted(text).replaceAll("\n", "&#10;");
}

/** As one line, or a part of one. */
export function toPlainLine(text: string): string {
  return escapeDeceptive(text).replaceAll("\n", "&#10;");
}

/** Lines after the first stand back: none of them can pass for a line of the text around it. */
export function toPlainBlock(text: string): string {
  return escapeDeceptive(text).replaceAll("\n", "\n  ");
}

export function escapeQuoted(text: string): string {
  const escaped = text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
  return escapeDeceptive(escaped);
}

export function unescapeQuoted(text: string): string {
  return text
    .replaceAll(/&#(\d+);/g, (_match, code: string) => String.fromCodePoint(Number(code)))
    .replaceAll("&quot;", '"')
    .replaceAll("&gt;", ">")
    .replaceAll("&lt;", "<")
    .replaceAll("&amp;", "&");
}

/** Ends of lines other than \n, controls, and what reorders or hides text: bidi, zero-width, soft hyphens, tags. Joiners of scripts stay. */
const deceptive = /[\0-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\u{e0000}-\u{e0fff}]/gu;

function escapeDeceptive(text: string): string {
  return text.replaceAll(deceptive, (one) => `&#${one.codePointAt(0) ?? 0};`);
}

/** Texts as QR codes: for a terminal, and as a picture. */
import { renderSVG, renderUnicodeCompact } from "uqr";

/** Lines of block characters, light on dark, with the quiet zone that scanners look for. */
export function toQrText(text: string): string {
  return renderUnicodeCompact(text, { border: 2 });
}

export function toQrDataUrl(text: string): string {
  return `data:image/svg+xml;base64,${Buffer.from(renderSVG(text, { border: 2 })).toString("base64")}`;
}

/** Why a socket closes: codes and the text beside them, which the WebSocket protocol bounds. */
import { limits, type ErrorCode } from "@portreeve/protocol";

/** `text` cut to what a close frame may carry, never inside a character. */
export function cutCloseReason(text: string): string {
  const bytes = Buffer.from(text, "utf8");
  if (bytes.length <= limits.closeReasonBytes) return text;
  let end: number = limits.closeReasonBytes;
  // A continuation byte (10xxxxxx) belongs to the character before it.
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return bytes.subarray(0, end).toString("utf8");
}

/** The code with which a refused handshake closes. */
export function closeCodeOf(code: ErrorCode): number {
  switch (code) {
    case "PROTOCOL_MISMATCH":
      return 1002;
    case "INTERNAL":
      return 1011;
    case "STORE_UNAVAILABLE":
    case "TOO_MANY_SOCKETS":
    case "SHUTTING_DOWN":
      return 1013;
    default:
      return 1008;
  }
}

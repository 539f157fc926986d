/** The text of a setup code: what a device needs to reach the gateway and be let in once. No reusable secret is in it. */
import { isRecord } from "./frames.ts";

export interface SetupCode {
  /** ws:// or wss://. */
  readonly url: string;
  readonly bootstrapToken: string;
  /** Undefined in codes of version 3 gateways. */
  readonly expiresAtMs: number | undefined;
}

/** base64url of JSON, as clients of both versions read it. Pure. */
export function formatSetupCode({ url, bootstrapToken, expiresAtMs }: SetupCode): string {
  const bytes = new TextEncoder().encode(JSON.stringify({ url, bootstrapToken, expiresAtMs }));
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
}

/** The parts of a setup code, or undefined when the text is none. Other fields are not looked at. Pure. */
export function parseSetupCode(text: string): SetupCode | undefined {
  let json: unknown;
  try {
    const bytes = Uint8Array.from(atob(text.trim().replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0));
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return undefined;
  }
  if (!isRecord(json)) return undefined;
  const { url, bootstrapToken, expiresAtMs } = json;
  if (typeof url !== "string" || !isGatewayUrl(url) || typeof bootstrapToken !== "string" || bootstrapToken === "") return undefined;
  return { url, bootstrapToken, expiresAtMs: typeof expiresAtMs === "number" ? expiresAtMs : undefined };
}

function isGatewayUrl(url: string): boolean {
  return URL.canParse(url) && /^wss?:$/.test(new URL(url).protocol);
}

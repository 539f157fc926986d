/** A WebSocket to exactly one certificate, which Node's own WebSocket cannot have. Loaded only when a certificate is pinned. */
import { WebSocket as PinnableWebSocket } from "ws";
import { ConnectionError } from "./errors.ts";
import { parseFingerprint } from "./fingerprint.ts";
import { openTls } from "./tls-socket.ts";

/**
 * Opens a TLS connection, compares the certificate's SHA-256 with `fingerprint` (hex; case and colons do not matter) and only
 * then speaks to it. The pin replaces the check of names and authorities.
 * @throws ConnectionError `unproved` for another certificate or an address without TLS; `unreachable` when nothing answers.
 */
export async function openPinnedSocket(url: string, fingerprint: string, signal: AbortSignal): Promise<WebSocket> {
  const address = URL.parse(url);
  if (address?.protocol !== "wss:")
    throw unproved(url, `A certificate is pinned for ${url}, which has none: expected an address that begins with wss://.`);
  const pinned = parseFingerprint(fingerprint);
  if (pinned === undefined)
    throw unproved(
      url,
      `The pin for ${url} is no SHA-256: expected 64 hexadecimal digits, with or without colons. Nothing was sent to it.`,
    );
  const tls = await openTls(url, address, signal);
  const shown = tls.getPeerCertificate().fingerprint256;
  if (parseFingerprint(shown) !== pinned) {
    tls.destroy();
    throw unproved(
      url,
      `${url} shows another certificate than the pinned one (sha256 ${shown}). Nothing was sent to it. If the gateway's certificate was renewed, pin the fingerprint that it prints when it starts.`,
    );
  }
  const socket = new PinnableWebSocket(url, { createConnection: () => tls, perMessageDeflate: false });
  // It has the browser's interface, of which a connection uses what both have: events with data, code and reason, send, close.
  return socket as unknown as WebSocket;
}

function unproved(url: string, message: string): ConnectionError {
  return new ConnectionError("unproved", message, { phase: "connecting", url });
}

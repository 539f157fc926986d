/** A TLS connection to whatever certificate an address shows, for who judges it. Loaded only when one has to be judged. */
import { connect, type TLSSocket } from "node:tls";
import { ConnectionError } from "./errors.ts";

/** Rejects with `unreachable` when nothing answers, and with the signal's reason. Nothing but the handshake is sent. */
export function openTls(url: string, address: URL, signal: AbortSignal): Promise<TLSSocket> {
  const host = address.hostname.replace(/^\[(.*)\]$/, "$1");
  const servername = /^[\d.]+$|:/.test(host) ? {} : { servername: host };
  const socket = connect({
    host,
    port: Number(address.port || 443),
    rejectUnauthorized: false,
    ALPNProtocols: ["http/1.1"],
    ...servername,
  });
  return new Promise((resolve, reject) => {
    const settle = (act: () => void): void => {
      signal.removeEventListener("abort", onAbort);
      act();
    };
    const onAbort = (): void => {
      socket.destroy();
      reject(signal.reason);
    };
    signal.addEventListener("abort", onAbort, { once: true });
    socket.once("secureConnect", () => settle(() => resolve(socket)));
    socket.once("error", (cause) =>
      settle(() =>
        reject(new ConnectionError("unreachable", `No gateway answers at ${url} over TLS.`, { phase: "connecting", url, cause })),
      ),
    );
  });
}

/** Why this machine does not trust the certificate at `url`; undefined: it does, or nobody shows one. Never rejects. */
export async function findDistrust(url: string, signal: AbortSignal): Promise<string | undefined> {
  const address = URL.parse(url);
  if (address?.protocol !== "wss:" || signal.aborted) return undefined;
  try {
    const socket = await openTls(url, address, signal);
    socket.destroy();
    return socket.authorized ? undefined : String(socket.authorizationError);
  } catch {
    return undefined;
  }
}

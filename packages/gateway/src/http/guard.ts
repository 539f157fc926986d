/** What every request and every upgrade must pass first: who really calls, through which name, from which page. Pure. */
import { isIP, isIPv6 } from "node:net";
import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import type { Config } from "../kit/config.ts";
import { readProxyIdentity, type ProxyIdentity } from "../kit/proxy-identity.ts";

export type DoorConfig = Pick<Config["gateway"], "bind" | "publicUrl" | "trustedProxies" | "allowedOrigins"> & {
  readonly auth: Pick<Config["gateway"]["auth"], "mode" | "trustedProxy">;
  readonly tls: Pick<Config["gateway"]["tls"], "mode">;
};

export interface Arrival {
  /** Of the TCP connection. */
  readonly remoteAddress: string | undefined;
  readonly localAddress: string | undefined;
  readonly localPort: number | undefined;
  /** The TCP connection is TLS of our own. */
  readonly isEncrypted: boolean;
  readonly headers: IncomingHttpHeaders;
}

export interface Peer {
  /** The client's address: the TCP peer's, or the one that a trusted proxy forwarded. */
  readonly address: string;
  /** The TCP peer is loopback and no proxy header is present. */
  readonly directLoopback: boolean;
  /** Nobody on a network can read along, as far as the gateway or its trusted proxy can tell. */
  readonly isConfidential: boolean;
  /** The page that asks, when a browser sent it. */
  readonly origin?: string | undefined;
  /** Who a trusted proxy says it is, in the mode that asks one. */
  readonly proxy?: ProxyIdentity | undefined;
}

export type OriginVerdict = "none" | "allowed" | "foreign";

export type Passage =
  | { readonly kind: "passed"; readonly peer: Peer; readonly origin: OriginVerdict }
  | {
      readonly kind: "refused";
      readonly status: 403 | 421;
      readonly error: { readonly type: string; readonly message: string; readonly remediationHint: string };
    };

/** What a request tells of itself before anything is read of it. */
export function toArrival({ socket, headers }: IncomingMessage): Arrival {
  const { remoteAddress, localAddress, localPort } = socket;
  return { remoteAddress, localAddress, localPort, isEncrypted: "encrypted" in socket && socket.encrypted === true, headers };
}

/** `isProbe`: a health probe, which a load balancer may send with proxy headers. */
export function guard(arrival: Arrival, config: DoorConfig, isProbe: boolean): Passage {
  const tcpPeer = canonicalAddress(arrival.remoteAddress);
  const isProxied = hasProxyHeader(arrival.headers);
  const trusted = config.trustedProxies.map(canonicalAddress);
  if (isProxied && !isProbe && !trusted.includes(tcpPeer)) {
    return refuse(
      403,
      "proxy_attribution_required",
      "The request carries proxy headers, but its sender is not a trusted proxy.",
      `Add the proxy's address to gateway.trustedProxies, or connect without a proxy. The sender was ${tcpPeer}.`,
    );
  }
  if (!isOwnHost(arrival, config)) {
    const host = (arrival.headers.host ?? "").slice(0, 255);
    return refuse(
      421,
      "misdirected_request",
      `The Host '${host}' is not a name of this gateway.`,
      "Use the gateway's address, or set gateway.publicUrl to the URL under which clients reach it.",
    );
  }
  const directLoopback = isLoopback(tcpPeer) && !isProxied;
  const address = isProxied && trusted.includes(tcpPeer) ? (forwardedAddress(arrival.headers, trusted) ?? tcpPeer) : tcpPeer;
  const { origin } = arrival.headers;
  const rules = config.auth.mode === "trusted-proxy" ? config.auth.trustedProxy : undefined;
  const from = { headers: arrival.headers, isTrusted: trusted.includes(tcpPeer), isLoopback: isLoopback(tcpPeer) };
  const peer = {
    address,
    directLoopback,
    isConfidential: isProxied
      ? trusted.includes(tcpPeer) && arrival.headers["x-forwarded-proto"] === "https"
      : directLoopback || arrival.isEncrypted,
    ...(origin === undefined ? {} : { origin: origin.toLowerCase() }),
    ...(rules === undefined ? {} : { proxy: readProxyIdentity(from, rules) }),
  };
  return { kind: "passed", peer, origin: judgeOrigin(arrival, config, directLoopback) };
}

function isLoopback(address: string): boolean {
  return address === "::1" || (isIP(address) === 4 && address.startsWith("127."));
}

const proxyHeaders = new Set(["forwarded", "x-real-ip", "via"]);

function hasProxyHeader(headers: IncomingHttpHeaders): boolean {
  return Object.keys(headers).some((name) => proxyHeaders.has(name) || name.startsWith("x-forwarded-") || name.startsWith("tailscale-"));
}

/** The nearest address that no trusted proxy has: what stands further left was written by whoever called. */
function forwardedAddress(headers: IncomingHttpHeaders, trusted: readonly string[]): string | undefined {
  const forwarded = [headers["x-forwarded-for"] ?? headers["x-real-ip"] ?? []].flat().join(",");
  const hops = forwarded.split(",").map((hop) => canonicalAddress(hop.trim().replace(/^\[(.*)\](:\d+)?$/, "$1")));
  const nearest = hops.findLast((hop) => !trusted.includes(hop));
  return nearest !== undefined && isIP(nearest) !== 0 ? nearest : undefined;
}

function isOwnHost(arrival: Arrival, config: DoorConfig): boolean {
  const host = URL.parse(`http://${arrival.headers.host ?? ""}`)?.hostname;
  if (host === undefined || host === "") return false;
  const name = canonicalAddress(host.replace(/^\[(.*)\]$/, "$1"));
  if (name === "localhost" || isLoopback(name)) return true;
  return name === ownAddress(arrival, config) || (config.publicUrl !== undefined && host === URL.parse(config.publicUrl)?.hostname);
}

/** Our own (bind address or public URL), one listed, or one on this machine from a peer on this machine. */
function judgeOrigin(arrival: Arrival, config: DoorConfig, directLoopback: boolean): OriginVerdict {
  const { origin } = arrival.headers;
  if (origin === undefined) return "none";
  const url = URL.parse(origin);
  if (url === null || url.origin === "null" || url.origin !== origin.toLowerCase()) return "foreign";
  const hostname = url.hostname.replace(/^\[(.*)\]$/, "$1");
  const isOpen = config.auth.mode === "none";
  if (directLoopback && (hostname === "localhost" || isLoopback(hostname))) {
    // Without a secret another page on this machine has nothing to prove: only what this port serves is ours.
    return !isOpen || url.port === String(arrival.localPort) ? "allowed" : "foreign";
  }
  const own = ownAddress(arrival, config);
  const listed = isOpen ? [] : config.allowedOrigins;
  const allowed = [...listed, ...(config.publicUrl === undefined ? [] : [config.publicUrl])].map(toOrigin);
  // A loopback origin is a page on the caller's machine, which is ours only for a direct peer.
  if (own !== undefined && !isLoopback(own))
    allowed.push(toOrigin(`${config.tls.mode === "off" ? "http" : "https"}://${isIPv6(own) ? `[${own}]` : own}:${arrival.localPort}`));
  return allowed.includes(url.origin) ? "allowed" : "foreign";
}

/** Bound to every address, the gateway's own is the one the connection came in on: a rebound name is none. */
function ownAddress(arrival: Arrival, { bind }: DoorConfig): string | undefined {
  if (bind === "loopback") return undefined;
  return canonicalAddress(bind === "lan" || bind === "0.0.0.0" || bind === "::" ? arrival.localAddress : bind);
}

function toOrigin(url: string): string | undefined {
  return URL.parse(url.replace(/^ws/, "http"))?.origin;
}

/** One spelling an address: IPv4 out of its IPv6 form, no zone, IPv6 compressed. Other text comes back as it is. */
function canonicalAddress(text: string | undefined): string {
  const address = (text ?? "").replace(/%[^]*/, "").replace(/^::ffff:(\d+\.\d+\.\d+\.\d+)$/i, "$1");
  return isIPv6(address) ? (URL.parse(`http://[${address}]`)?.hostname.slice(1, -1) ?? address) : address;
}

function refuse(status: 403 | 421, type: string, message: string, remediationHint: string): Passage {
  return { kind: "refused", status, error: { type, message, remediationHint } };
}

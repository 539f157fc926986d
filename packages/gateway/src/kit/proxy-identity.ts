/** The user a trusted proxy names: read from headers that only the proxy's own address may send. Pure. */
import type { IncomingHttpHeaders } from "node:http";
import type { Config } from "./config.ts";

export type ProxyRules = NonNullable<Config["gateway"]["auth"]["trustedProxy"]>;

export type ProxyIdentity =
  | { readonly kind: "identified"; readonly user: string }
  | {
      readonly kind: "refused";
      readonly reason: string;
      /** The required header that did not come. */
      readonly header?: string | undefined;
      /** Whether the request claims to come with a user. */
      readonly claimsUser: boolean;
    };

export interface ProxyRequest {
  readonly headers: IncomingHttpHeaders;
  /** The TCP peer is one of `gateway.trustedProxies`. */
  readonly isTrusted: boolean;
  readonly isLoopback: boolean;
}

export function readProxyIdentity({ headers, isTrusted, isLoopback }: ProxyRequest, rules: ProxyRules): ProxyIdentity {
  const read = (name: string): string => [headers[name.toLowerCase()] ?? []].flat().join(", ").trim();
  const user = read(rules.userHeader);
  const refuse = (reason: string, header?: string): ProxyIdentity => ({ kind: "refused", reason, header, claimsUser: user !== "" });
  if (!isTrusted) return refuse("trusted_proxy_untrusted_source");
  if (isLoopback && !rules.allowLoopback) return refuse("trusted_proxy_loopback_source");
  const missing = rules.requiredHeaders.find((name) => read(name) === "");
  if (missing !== undefined) return refuse(`trusted_proxy_missing_header_${missing.toLowerCase()}`, missing);
  if (user === "") return refuse("trusted_proxy_user_missing", rules.userHeader);
  // Node joins repeated headers with a comma: then one of them may be the client's own.
  if (user.includes(",")) return refuse("trusted_proxy_user_ambiguous");
  if (rules.allowUsers.length > 0 && !rules.allowUsers.includes(user)) return refuse("trusted_proxy_user_not_allowed");
  return { kind: "identified", user };
}

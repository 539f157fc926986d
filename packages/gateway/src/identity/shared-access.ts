/** What a connection brings besides its own device token: the shared secret, a proxy's word, or nothing where nothing is asked. Pure. */
import type { Config } from "../kit/config.ts";
import type { ProxyIdentity } from "../kit/proxy-identity.ts";
import type { Match } from "./credentials.ts";

export type AuthMode = Config["gateway"]["auth"]["mode"];
export type SharedMethod = "token" | "password" | "none" | "trusted-proxy";

export type SharedAccess =
  | { readonly kind: "judged"; readonly method: SharedMethod; readonly match: Match }
  /** The gateway takes users from its proxy alone, and this is not one. */
  | { readonly kind: "not-proxied"; readonly refusal: Extract<ProxyIdentity, { kind: "refused" }> };

export interface SharedAccessFacts {
  readonly directLoopback: boolean;
  readonly hasOrigin: boolean;
  readonly proxy: ProxyIdentity | undefined;
  readonly secret: Match;
}

export function judgeSharedAccess(mode: AuthMode, { directLoopback, hasOrigin, proxy, secret }: SharedAccessFacts): SharedAccess {
  switch (mode) {
    case "token":
    case "password":
      return { kind: "judged", method: mode, match: secret };
    case "none":
      return { kind: "judged", method: "none", match: "right" };
    case "trusted-proxy": {
      if (proxy?.kind === "identified") return { kind: "judged", method: "trusted-proxy", match: "right" };
      // The owner on the gateway's machine is never locked out: the local secret serves a program that claims no user.
      if (directLoopback && !hasOrigin && proxy?.claimsUser !== true) return { kind: "judged", method: "token", match: secret };
      return { kind: "not-proxied", refusal: proxy ?? { kind: "refused", reason: "trusted_proxy_untrusted_source", claimsUser: false } };
    }
  }
}

/** What can happen to authority, as data: one number is one action, so that a failing sequence shrinks to a short one. */

export const deviceCount = 3;

export type Peer = "local" | "local page" | "remote";

export interface ConnectAsk {
  /** Undefined: without a device. */
  readonly device: number | undefined;
  readonly role: "operator" | "node";
  readonly scopes: readonly string[];
  readonly credential: "secret" | "device token" | "wrong";
  readonly peer: Peer;
  /** The device says that it runs on another system than it was paired on. */
  readonly isChanged: boolean;
}

export type Action =
  | { readonly kind: "connect"; readonly ask: ConnectAsk }
  /** `by` and `request` count among those there are: connections that were admitted, requests that were ever made. */
  | { readonly kind: "approve" | "reject"; readonly by: number; readonly request: number }
  /** A run of whoever was admitted, or of another run, in a new session or in that of a third. */
  | { readonly kind: "start"; readonly by: number; readonly session: number }
  | { readonly kind: "spawn"; readonly by: number }
  | { readonly kind: "restart" }
  | { readonly kind: "configure"; readonly autoApproveLocal: boolean }
  | { readonly kind: "wait"; readonly ms: number };

export type Kind = Action["kind"];

const scopeSets: readonly (readonly string[])[] = [
  [],
  ["operator.read"],
  ["operator.write"],
  ["operator.admin"],
  ["operator.pairing"],
  ["operator.pairing", "operator.read"],
  ["operator.approvals", "operator.write"],
  ["operator.admin", "operator.pairing"],
  ["operator.sessions.read", "operator.talk"],
  ["operator.bogus", "operator.read"],
];

/** Connects are as frequent as all else together: nothing follows without one. */
const kinds: readonly Kind[] = [
  ...Array<Kind>(8).fill("connect"),
  ...Array<Kind>(4).fill("approve"),
  "reject",
  "start",
  "start",
  "spawn",
  "spawn",
  "restart",
  "configure",
  "wait",
];

/** The action that `code` stands for; every number is one, and 0 the plainest. */
export function toAction(code: number): Action {
  let rest = code;
  const pick = (count: number): number => {
    const picked = rest % count;
    rest = Math.floor(rest / count);
    return picked;
  };
  const kind = kinds[pick(kinds.length)] ?? "connect";
  switch (kind) {
    case "connect": {
      const device = pick(deviceCount + 1);
      return {
        kind,
        ask: {
          device: device === deviceCount ? undefined : device,
          credential: (["secret", "secret", "device token", "wrong"] as const)[pick(4)] ?? "wrong",
          scopes: scopeSets[pick(scopeSets.length)] ?? [],
          peer: (["local", "local", "remote", "local page"] as const)[pick(4)] ?? "remote",
          role: pick(6) === 5 ? "node" : "operator",
          isChanged: pick(8) === 7,
        },
      };
    }
    case "approve":
    case "reject":
      return { kind, by: pick(64), request: pick(16) };
    case "start":
      return { kind, by: pick(64), session: pick(16) };
    case "spawn":
      return { kind, by: pick(64) };
    case "restart":
      return { kind };
    case "configure":
      return { kind, autoApproveLocal: pick(2) === 0 };
    case "wait":
      return { kind, ms: [1, 60_000, 400_000][pick(3)] ?? 1 };
  }
}

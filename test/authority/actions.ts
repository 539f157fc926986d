/** What can happen to authority, as data: one number is one action, so that a failing sequence shrinks to a short one. */

export const deviceCount = 3;

export type Peer = "local" | "local page" | "remote";

export type Role = "operator" | "node";

export interface Subject {
  readonly device: number;
  readonly role: Role;
}

export interface ConnectAsk {
  /** Undefined: without a device. */
  readonly device: number | undefined;
  readonly role: Role;
  readonly scopes: readonly string[];
  readonly credential: "secret" | "device token" | "wrong";
  readonly peer: Peer;
  /** The device says that it runs on another system than it was paired on. */
  readonly isChanged: boolean;
}

/** What an operator may configure otherwise between two starts. */
export interface Settings {
  readonly autoApproveLocal: boolean;
  readonly authMode: "token" | "none";
  readonly maxChildren: number;
  /** One of the two tools there are. */
  readonly deniesRead: boolean;
}

export const firstSettings: Settings = { autoApproveLocal: true, authMode: "token", maxChildren: 100, deniesRead: false };

export type Action =
  | { readonly kind: "connect"; readonly ask: ConnectAsk }
  /** `by`, `request`, `code` and `run` count among those there are: connections, requests, codes and runs that ever were. */
  | { readonly kind: "approve"; readonly by: number; readonly request: number; readonly minutes: number | undefined }
  | { readonly kind: "reject"; readonly by: number; readonly request: number }
  | { readonly kind: "rotate"; readonly by: number; readonly subject: Subject; readonly scopes: readonly string[] | undefined }
  | { readonly kind: "revoke"; readonly by: number; readonly subject: Subject }
  | { readonly kind: "remove"; readonly by: number; readonly device: number }
  | { readonly kind: "invite"; readonly by: number; readonly role: Role; readonly scopes: readonly string[] | undefined }
  | { readonly kind: "present"; readonly code: number; readonly subject: Subject; readonly scopes: readonly string[] }
  /** A run of whoever was admitted, or of another run, in a new session or in that of a third. */
  | { readonly kind: "start"; readonly by: number; readonly session: number; readonly seconds: number | undefined }
  | { readonly kind: "spawn"; readonly by: number; readonly isNarrowed: boolean; readonly seconds: number | undefined }
  /** A message of whoever was admitted, or of a run, to the session of another run. */
  | { readonly kind: "steer"; readonly by: number; readonly run: number }
  /** All that goes on in the session of a run, whoever started it. */
  | { readonly kind: "abort"; readonly by: number; readonly run: number }
  | { readonly kind: "restart" }
  | { readonly kind: "configure"; readonly settings: Settings }
  | { readonly kind: "wait"; readonly ms: number }
  /** The machine's clock is set, forward or back. */
  | { readonly kind: "clock"; readonly byMs: number };

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

/** Connects are the most frequent: nothing follows without one. */
const kinds: readonly Kind[] = [
  ...Array<Kind>(8).fill("connect"),
  ...Array<Kind>(4).fill("approve"),
  "reject",
  "rotate",
  "revoke",
  "remove",
  "invite",
  "present",
  "present",
  "start",
  "start",
  "spawn",
  "spawn",
  "steer",
  "steer",
  "abort",
  "restart",
  "configure",
  "wait",
  "wait",
  "clock",
];

const plain = { role: "operator", credential: "secret", peer: "local", isChanged: false } as const;
/** On the gateway's machine; without it little is ever approved. */
const operator: Action = { kind: "connect", ask: { ...plain, device: undefined, scopes: ["operator.admin"] } };
const writer = { ...plain, device: 0, scopes: ["operator.write"] };
const admin = { ...writer, scopes: ["operator.admin"] };

function begin(by: number, seconds?: number): Action {
  return { kind: "start", by, session: 0, seconds };
}

function delegate(by: number, isNarrowed = false): Action {
  return { kind: "spawn", by, isNarrowed, seconds: undefined };
}

function say(by: number, run: number): Action {
  return { kind: "steer", by, run };
}

const stop: Action = { kind: "abort", by: 0, run: 0 };
const invite: Action = { kind: "invite", by: 0, role: "operator", scopes: undefined };
const present: Action = { kind: "present", code: 0, subject: { device: 0, role: "operator" }, scopes: ["operator.read"] };

/** What plays begin with, so that what needs several steps before it happens often: nothing, or an operator, and devices and runs with it. */
export const openings: readonly (readonly Action[])[] = [
  [],
  [operator],
  [
    operator,
    { kind: "connect", ask: { ...writer, peer: "remote" } },
    { kind: "approve", by: 0, request: 0, minutes: 5 },
    { kind: "connect", ask: { ...writer, peer: "remote" } },
  ],
  [operator, invite, { kind: "present", code: 0, subject: { device: 0, role: "operator" }, scopes: ["operator.admin"] }],
  [operator, { kind: "connect", ask: writer }, begin(1), delegate(0)],
  // Of the owner's run, which has little time, a child and its narrowed sibling.
  [operator, begin(0, 120), delegate(0), delegate(0, true)],
  // Into the owner's run, by who may not; and when that is stopped, into nothing.
  [operator, { kind: "connect", ask: writer }, begin(0), say(1, 0), stop, say(0, 0)],
  // By a run that is stopped, to its child; and by one that has its time behind it.
  [operator, begin(0), delegate(0), stop, say(1, 1)],
  [operator, begin(0, 120), delegate(0), { kind: "wait", ms: 400_000 }, say(1, 1)],
  // A code that has expired, and then the clock is as it was.
  [operator, invite, { kind: "clock", byMs: 3_600_000 }, { kind: "clock", byMs: -3_600_000 }, present, { kind: "restart" }, present],
  // A code of a device that is turned out before it is presented; and one of a device that is admin for a time.
  [operator, { kind: "connect", ask: { ...admin, device: 1 } }, { ...invite, by: 1 }, { kind: "remove", by: 0, device: 1 }, present],
  [
    operator,
    { kind: "connect", ask: writer },
    { kind: "connect", ask: admin },
    { kind: "approve", by: 0, request: 0, minutes: 5 },
    { kind: "connect", ask: admin },
    { ...invite, by: 2, scopes: ["operator.admin", "operator.read"] },
    present,
  ],
  [operator, { kind: "configure", settings: { ...firstSettings, deniesRead: true } }, begin(0), delegate(0, true)],
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
          role: pickRole(pick),
          isChanged: pick(8) === 7,
        },
      };
    }
    case "approve":
      return { kind, by: pick(64), request: pick(16), minutes: pick(2) === 0 ? undefined : 5 };
    case "reject":
      return { kind, by: pick(64), request: pick(16) };
    case "rotate":
      return { kind, by: pick(64), subject: pickSubject(pick), scopes: pick(2) === 0 ? undefined : scopeSets[pick(scopeSets.length)] };
    case "revoke":
      return { kind, by: pick(64), subject: pickSubject(pick) };
    case "remove":
      return { kind, by: pick(64), device: pick(deviceCount) };
    case "invite":
      return { kind, by: pick(64), role: pickRole(pick), scopes: pick(2) === 0 ? undefined : scopeSets[pick(scopeSets.length)] };
    case "present":
      return { kind, code: pick(8), subject: pickSubject(pick), scopes: scopeSets[pick(scopeSets.length)] ?? [] };
    case "start":
      return { kind, by: pick(64), session: pick(16), seconds: pickSeconds(pick) };
    case "spawn":
      return { kind, by: pick(64), isNarrowed: pick(3) === 2, seconds: pickSeconds(pick) };
    case "steer":
      return { kind, by: pick(64), run: pick(16) };
    case "abort":
      return { kind, by: pick(64), run: pick(16) };
    case "restart":
      return { kind };
    case "configure":
      return { kind, settings: pickSettings(pick) };
    case "wait":
      return { kind, ms: [1, 60_000, 400_000][pick(3)] ?? 1 };
    case "clock":
      return { kind, byMs: [400_000, -400_000, 3_600_000, -3_600_000][pick(4)] ?? 0 };
  }
}

type Pick = (count: number) => number;

function pickSubject(pick: Pick): Subject {
  return { device: pick(deviceCount), role: pickRole(pick) };
}

function pickRole(pick: Pick): Role {
  return pick(6) === 5 ? "node" : "operator";
}

function pickSeconds(pick: Pick): number | undefined {
  return [undefined, 120, 900][pick(3)];
}

function pickSettings(pick: Pick): Settings {
  const autoApproveLocal = pick(2) === 0;
  return { autoApproveLocal, authMode: pick(3) === 2 ? "none" : "token", maxChildren: pick(3) === 2 ? 1 : 100, deniesRead: pick(3) === 2 };
}

/** Whichever `index` counts to among those there are. */
export function at<T>(list: readonly T[], index: number): T | undefined {
  return list.length === 0 ? undefined : list[index % list.length];
}

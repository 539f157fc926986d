import assert from "node:assert/strict";
import test from "node:test";
import { coversAll, normaliseScopes, scopeNames } from "@portreeve/protocol";
import fc from "fast-check";
import { decide, type Decision, type GrantFacts, isMetadataChanged, type Standing } from "./grant.ts";

type DeviceFacts = Extract<GrantFacts, { subject: "device" }>;

const local = { directLoopback: true, hasOrigin: false };
const page = { directLoopback: true, hasOrigin: true };
const remote = { directLoopback: false, hasOrigin: false };
const fresh: Standing = { kind: "unknown", refused: false, hasPending: false };
const read: Extract<Standing, { kind: "paired" }> = {
  kind: "paired",
  ceiling: ["operator.read"],
  tokenScopes: ["operator.read"],
  metadataChanged: false,
};
const operator = (...scopes: string[]) => ({ role: "operator", scopes }) as const;
const node = { role: "node", scopes: [] } as const;

function device(over: Partial<DeviceFacts>): DeviceFacts {
  const ask = operator("operator.read");
  return {
    subject: "device",
    ask,
    peer: local,
    method: "token",
    secret: "right",
    token: "absent",
    offersDeviceToken: false,
    standing: fresh,
    autoApproveLocal: true,
    ...over,
  };
}

function deviceless(over: Partial<Extract<GrantFacts, { subject: "no-device" }>>): GrantFacts {
  return { subject: "no-device", ask: operator("operator.admin", "operator.read"), peer: local, method: "token", secret: "right", ...over };
}

const silently = (...scopes: string[]): Decision => ({ kind: "approve-silently", scopes });
const admit = (method: "token" | "device-token", ...scopes: string[]): Decision => ({ kind: "admit", method, scopes });
const pend = (reason: Extract<Decision, { kind: "pend" }>["reason"]): Decision => ({ kind: "pend", reason });
const refuse = (code: Extract<Decision, { kind: "refuse" }>["code"]): Decision => ({ kind: "refuse", code });

const tokenOnly = { secret: "wrong", token: "right" } as const;

const table: readonly [name: string, facts: GrantFacts, decision: Decision][] = [
  ["a new local device with the secret is paired silently with exactly what it asked", device({}), silently("operator.read")],
  [
    "a new local device that asks for admin is paired silently too",
    device({ ask: operator("operator.admin") }),
    silently("operator.admin"),
  ],
  ["a new local device that asks for nothing gets nothing", device({ ask: operator() }), silently()],
  ["a new local page of an allowed origin is paired silently", device({ peer: page }), silently("operator.read")],
  ["a new local node without scopes is paired silently", device({ ask: node }), silently()],
  [
    "a new local node that asks for operator scopes waits",
    device({ ask: { role: "node", scopes: ["operator.read"] } }),
    pend("not-paired"),
  ],
  ["a scope without a meaning is not granted silently", device({ ask: operator("operator.read", "operator.bogus") }), pend("not-paired")],
  ["a new local device that the password lets in is paired silently", device({ method: "password" }), silently("operator.read")],
  ["a new local device in mode none is paired silently", device({ method: "none" }), silently("operator.read")],
  ["a page in mode none is never paired silently", device({ method: "none", peer: page }), pend("not-paired")],
  ["a new remote device in mode none waits", device({ method: "none", peer: remote }), pend("not-paired")],
  ["a proxy's word pairs nobody silently", device({ method: "trusted-proxy" }), pend("not-paired")],
  [
    "a paired device comes in by its proxy's word",
    device({ method: "trusted-proxy", standing: read }),
    { kind: "admit", method: "trusted-proxy", scopes: ["operator.read"] },
  ],
  [
    "a proxy's word widens nothing",
    device({ method: "trusted-proxy", standing: read, ask: operator("operator.admin") }),
    pend("scope-upgrade"),
  ],
  ["a wrong password is named as such", device({ method: "password", secret: "wrong" }), refuse("AUTH_PASSWORD_MISMATCH")],
  ["a missing password is named as such", device({ method: "password", secret: "absent" }), refuse("AUTH_PASSWORD_MISSING")],
  [
    "without a device a wrong password is named as such",
    deviceless({ method: "password", secret: "wrong" }),
    refuse("AUTH_PASSWORD_MISMATCH"),
  ],
  [
    "without a device the password keeps the scopes of a local program",
    deviceless({ method: "password" }),
    { kind: "admit", method: "password", scopes: ["operator.admin", "operator.read"] },
  ],
  ["without a device mode none keeps no scopes", deviceless({ method: "none" }), { kind: "admit", method: "none", scopes: [] }],
  [
    "without a device a proxy's word keeps no scopes",
    deviceless({ method: "trusted-proxy" }),
    { kind: "admit", method: "trusted-proxy", scopes: [] },
  ],
  ["a new remote device waits", device({ peer: remote }), pend("not-paired")],
  ["a new local device waits when the switch is off", device({ autoApproveLocal: false }), pend("not-paired")],
  ["a device that was refused once waits, also locally", device({ standing: { ...fresh, refused: true } }), pend("not-paired")],
  ["a waiting request is not laundered by a local attempt", device({ standing: { ...fresh, hasPending: true } }), pend("not-paired")],
  ["a device that offers nothing is told to", device({ secret: "absent" }), refuse("AUTH_TOKEN_MISSING")],
  ["a new device with a wrong secret creates no request", device({ secret: "wrong", token: "wrong" }), refuse("AUTH_TOKEN_MISMATCH")],
  [
    "a wrong device token is told as such",
    device({ secret: "absent", token: "wrong", offersDeviceToken: true }),
    refuse("AUTH_DEVICE_TOKEN_MISMATCH"),
  ],
  [
    "a wrong device token beside a wrong secret is told as such",
    device({ secret: "wrong", token: "wrong", offersDeviceToken: true, standing: read }),
    refuse("AUTH_DEVICE_TOKEN_MISMATCH"),
  ],
  ["a paired device is admitted by the secret", device({ standing: read }), admit("token", "operator.read")],
  ["a paired device is admitted by its token", device({ ...tokenOnly, standing: read }), admit("device-token", "operator.read")],
  [
    "a paired device is admitted by its token from afar",
    device({ ...tokenOnly, peer: remote, standing: read }),
    admit("device-token", "operator.read"),
  ],
  ["a paired device that asks for less gets less", device({ ...tokenOnly, ask: operator(), standing: read }), admit("device-token")],
  [
    "a scope that an approved one implies needs no approval",
    device({ ask: operator("operator.sessions.read"), standing: read }),
    admit("token", "operator.sessions.read"),
  ],
  ["a local upgrade with the secret waits", device({ ask: operator("operator.admin"), standing: read }), pend("scope-upgrade")],
  [
    "a remote upgrade with the secret waits",
    device({ ask: operator("operator.admin"), peer: remote, standing: read }),
    pend("scope-upgrade"),
  ],
  [
    "an upgrade with the device token creates no request",
    device({ ...tokenOnly, ask: operator("operator.admin"), standing: read }),
    refuse("AUTH_SCOPE_MISMATCH"),
  ],
  [
    "a token that was rotated to less admits to no more, although the device is approved for it",
    device({ ...tokenOnly, ask: operator("operator.write"), standing: { ...read, ceiling: ["operator.write"] } }),
    refuse("AUTH_SCOPE_MISMATCH"),
  ],
  [
    "the secret admits to all that is approved, whatever the token covers",
    device({ ask: operator("operator.write"), standing: { ...read, ceiling: ["operator.write"] } }),
    admit("token", "operator.write"),
  ],
  ["a new role waits, also locally", device({ standing: { ...read, ceiling: undefined } }), pend("role-upgrade")],
  ["a changed platform waits, also locally", device({ standing: { ...read, metadataChanged: true } }), pend("metadata-upgrade")],
  [
    "a changed platform waits with the device token too",
    device({ ...tokenOnly, standing: { ...read, metadataChanged: true } }),
    pend("metadata-upgrade"),
  ],
  [
    "a changed platform is told before a new role",
    device({ standing: { ...read, ceiling: undefined, metadataChanged: true } }),
    pend("metadata-upgrade"),
  ],
  ["an unreadable record is refused and not paired again", device({ standing: { kind: "corrupt" } }), refuse("DEVICE_RECORD_CORRUPT")],
  [
    "an unreadable record does not make a token wrong",
    device({ secret: "absent", token: "wrong", offersDeviceToken: true, standing: { kind: "corrupt" } }),
    refuse("DEVICE_RECORD_CORRUPT"),
  ],
  [
    "whoever offers nothing learns nothing of the record",
    device({ secret: "absent", standing: { kind: "corrupt" } }),
    refuse("AUTH_TOKEN_MISSING"),
  ],
  ["the secret without a device keeps its scopes on this machine", deviceless({}), admit("token", "operator.admin", "operator.read")],
  ["the secret without a device keeps none from afar", deviceless({ peer: remote }), admit("token")],
  ["the secret without a device keeps none for a page", deviceless({ peer: page }), admit("token")],
  ["a wrong secret without a device is told as such", deviceless({ secret: "wrong" }), refuse("AUTH_TOKEN_MISMATCH")],
  ["nothing at all needs a device", deviceless({ secret: "absent" }), refuse("DEVICE_IDENTITY_REQUIRED")],
  ["a node needs a device", deviceless({ ask: node }), refuse("DEVICE_IDENTITY_REQUIRED")],
];

for (const [name, facts, decision] of table) {
  test(name, () => {
    assert.deepEqual(decide(facts), decision);
  });
}

const match = fc.constantFrom("right", "wrong", "absent" as const);
const peer = fc.record({ directLoopback: fc.boolean(), hasOrigin: fc.boolean() });
const sharedMethod = fc.constantFrom("token", "password", "none", "trusted-proxy" as const);
const scopes = fc.array(
  fc.oneof(fc.constantFrom<string>(...scopeNames), fc.constantFrom("operator.bogus", "node.x", " operator.read ", "__proto__")),
  { maxLength: 5 },
);
const ask = fc.record({ role: fc.constantFrom("operator", "node" as const), scopes });
const standing: fc.Arbitrary<Standing> = fc.oneof(
  fc.record({ kind: fc.constant("unknown" as const), refused: fc.boolean(), hasPending: fc.boolean() }),
  fc.record({
    kind: fc.constant("paired" as const),
    ceiling: fc.option(scopes, { nil: undefined }),
    tokenScopes: scopes,
    metadataChanged: fc.boolean(),
  }),
  fc.constant({ kind: "corrupt" as const }),
);
const facts: fc.Arbitrary<GrantFacts> = fc.oneof(
  fc.record({ subject: fc.constant("no-device" as const), ask, peer, method: sharedMethod, secret: match }),
  fc.record({
    subject: fc.constant("device" as const),
    ask,
    peer,
    method: sharedMethod,
    secret: match,
    token: match,
    offersDeviceToken: fc.boolean(),
    standing,
    autoApproveLocal: fc.boolean(),
  }),
);
const many = { seed: Number(process.env["PORTREEVE_SEED"] ?? Date.now() % 2_147_483_647), numRuns: 5_000 };

test("nobody is ever given a scope that was not asked for", () => {
  fc.assert(
    fc.property(facts, (given) => {
      const decision = decide(given);
      const asked = normaliseScopes(given.ask.scopes);
      return !("scopes" in decision) || decision.scopes.every((scope) => asked.includes(scope));
    }),
    many,
  );
});

test("a known device is never given more than its ceiling, and never silently", () => {
  fc.assert(
    fc.property(facts, (given) => {
      if (given.subject === "no-device" || given.standing.kind === "unknown") return true;
      const decision = decide(given);
      const ceiling = given.standing.kind === "paired" ? (given.standing.ceiling ?? []) : [];
      return decision.kind !== "approve-silently" && (decision.kind !== "admit" || coversAll(normaliseScopes(ceiling), decision.scopes));
    }),
    many,
  );
});

test("a token alone is never given more than it covers", () => {
  fc.assert(
    fc.property(facts, (given) => {
      if (given.subject === "no-device" || given.standing.kind !== "paired" || given.secret === "right") return true;
      const decision = decide(given);
      return decision.kind !== "admit" || coversAll(normaliseScopes(given.standing.tokenScopes), decision.scopes);
    }),
    many,
  );
});

test("without a right credential nobody is admitted, paired or heard", () => {
  fc.assert(
    fc.property(facts, (given) => {
      const isRight = given.secret === "right" || (given.subject === "device" && given.token === "right");
      return isRight || decide(given).kind === "refuse";
    }),
    many,
  );
});

test("silence needs the secret, a direct local peer, a clean record and the switch", () => {
  fc.assert(
    fc.property(facts, (given) => {
      if (decide(given).kind !== "approve-silently") return true;
      if (given.subject === "no-device" || given.standing.kind !== "unknown") return false;
      return (
        given.secret === "right" &&
        given.peer.directLoopback &&
        given.autoApproveLocal &&
        !given.standing.refused &&
        !given.standing.hasPending
      );
    }),
    many,
  );
});

test("an operator without a device keeps scopes only as a direct local peer without a page", () => {
  fc.assert(
    fc.property(facts, (given) => {
      if (given.subject !== "no-device") return true;
      const decision = decide(given);
      return decision.kind !== "admit" || decision.scopes.length === 0 || (given.peer.directLoopback && !given.peer.hasOrigin);
    }),
    many,
  );
});

const pinned = { platform: "linux", deviceFamily: "Linux" };
const metadata: readonly [
  name: string,
  pinned: { platform: string | undefined; deviceFamily: string | undefined },
  claimed: { platform: string | undefined; deviceFamily: string | undefined },
  changed: boolean,
][] = [
  ["the same", pinned, { platform: " LINUX", deviceFamily: "linux" }, false],
  ["another platform", pinned, { platform: "windows", deviceFamily: "Linux" }, true],
  ["another family", pinned, { platform: "linux", deviceFamily: "Mac" }, true],
  ["a family left out", pinned, { platform: "linux", deviceFamily: undefined }, true],
  ["a platform left out", pinned, { platform: undefined, deviceFamily: "Linux" }, true],
  ["a family where none was pinned", { platform: "linux", deviceFamily: undefined }, { platform: "linux", deviceFamily: "Linux" }, false],
  ["a platform where none was pinned", { platform: undefined, deviceFamily: "Linux" }, { platform: "linux", deviceFamily: "Linux" }, false],
  ["a version left out", { platform: "android 14", deviceFamily: undefined }, { platform: "android", deviceFamily: undefined }, false],
  [
    "a version of three parts left out",
    { platform: "macOS 14.10.2", deviceFamily: undefined },
    { platform: "macos", deviceFamily: undefined },
    false,
  ],
  [
    "a number within the name",
    { platform: "linux 5 lts", deviceFamily: undefined },
    { platform: "linux lts", deviceFamily: undefined },
    true,
  ],
  ["the desktop's other name", { platform: "darwin", deviceFamily: undefined }, { platform: "macOS", deviceFamily: undefined }, false],
  [
    "a newer version of the same system",
    { platform: "iOS 18.1", deviceFamily: undefined },
    { platform: "iOS 19.0.2", deviceFamily: undefined },
    false,
  ],
  [
    "another system of the same version",
    { platform: "iOS 18.1", deviceFamily: undefined },
    { platform: "android 18.1", deviceFamily: undefined },
    true,
  ],
];

for (const [name, before, after, changed] of metadata) {
  test(`${name} is ${changed ? "a" : "no"} change of the device's metadata`, () => {
    assert.equal(isMetadataChanged(before, after), changed);
  });
}

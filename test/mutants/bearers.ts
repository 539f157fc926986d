import type { Mutant } from "./mutant-list.ts";

const bearersTest = "test/bearers.test.ts";
const serverTest = "packages/gateway/src/http/server.test.ts";
const identity = "packages/gateway/src/identity/bearers.ts";
const request = "packages/gateway/src/http/bearer-request.ts";
const store = "packages/gateway/src/store/sql/bearers.ts";

/** The door of HTTP: who gets in with what, and when it ends. */
export const bearersMutants: readonly Mutant[] = [
  {
    what: "a device's own token is taken without its key",
    file: store,
    from: '.where("devices.approved_via", "=", "bearer")\n        .where("device_grants.role"',
    to: '.where("device_grants.role"',
    killedBy: "^the token of a device with a key",
    testFile: bearersTest,
  },
  {
    what: "a bearer is looked at once, before it is waited for",
    file: identity,
    from: 'if (deps.credentials.checkDeviceToken({ token }, { deviceId, ...grant }) !== "right") return { kind: "unauthorized" };',
    to: "",
    killedBy: "^a bearer that is rotated while it is judged",
    testFile: "packages/gateway/src/identity/bearers.test.ts",
  },
  {
    what: "an issuer hands on what it does not hold",
    file: store,
    from: "const beyond = scopes.find((scope) => !covers(held, scope));",
    to: "const beyond = scopes.find((scope) => held.length > 99 && !covers(held, scope));",
    killedBy: "^only admin issues bearers",
    testFile: bearersTest,
  },
  {
    what: "a bearer is issued without its row of the audit",
    file: store,
    from: "await appendAudit(tx,",
    to: "if (label === undefined) await appendAudit(tx,",
    killedBy: "^only admin issues bearers",
    testFile: bearersTest,
  },
  {
    what: "a token that crossed the network readable is taken",
    file: identity,
    from: 'const mayBeDevice = peer.isConfidential && secret !== "right"',
    to: 'const mayBeDevice = secret !== "right"',
    killedBy: "^a token that could be read",
    testFile: bearersTest,
  },
  {
    what: "what a proxy says of TLS is taken from anybody's first word",
    file: "packages/gateway/src/http/guard.ts",
    from: 'arrival.headers["x-forwarded-proto"] === "https"',
    to: 'String(arrival.headers["x-forwarded-proto"]).includes("https")',
    killedBy: "^a token that could be read",
    testFile: bearersTest,
  },
  {
    what: "guesses over HTTP are not counted",
    file: identity,
    from: 'const settled = await deps.attempts.settle(ask.peer, { auth: { token }, secret: access.match, token: "wrong" }, ask.signal);',
    to: 'const settled = { kind: "open", secret: access.match, retryAfterMs: 0 } as const;',
    killedBy: "^ten wrong ones",
    testFile: bearersTest,
  },
  {
    what: "beyond the bound the secret is looked at",
    file: identity,
    from: 'if ((waiting.get(key) ?? 0) >= limits.unauthenticatedSocketsPerPeer) return { kind: "busy" };',
    to: 'if ((waiting.get(key) ?? 0) >= limits.unauthenticatedSocketsPerPeer && access.match === "wrong") return { kind: "busy" };',
    killedBy: "^beyond thirty-two attempts",
    testFile: bearersTest,
  },
  {
    what: "where no secret is asked for, anything presented is right",
    file: identity,
    from: "if (!isSecret(offered.access)) return wrong;",
    to: "",
    killedBy: "^where no secret is asked for",
    testFile: bearersTest,
  },
  {
    what: "the secret keeps scopes from elsewhere",
    file: identity,
    from: "principal: secretPrincipal(decision.scopes), endsInMs",
    to: "principal: secretPrincipal(scopes), endsInMs",
    killedBy: "^on this machine the secret",
    testFile: bearersTest,
  },
  {
    what: "a request's own word on its scopes counts",
    file: request,
    from: 'narrowed(principal, normaliseScopes([header].flat().join(",").split(",")))',
    to: '({ ...principal, scopes: normaliseScopes([header].flat().join(",").split(",")) } as typeof principal)',
    killedBy: "^invariant 9 and 12 over HTTP",
    testFile: bearersTest,
  },
  {
    what: "a page of any origin may ask",
    file: request,
    from: 'if (passage.origin === "foreign") return refuse(deps, asked, foreignOrigin);',
    to: "",
    killedBy: "^Origin, Host and proxy headers",
    testFile: bearersTest,
  },
  {
    what: "a body of any size is read",
    file: request,
    from: "if (size > maxBytes) return undefined;",
    to: "",
    killedBy: "^a body is refused",
    testFile: bearersTest,
  },
  {
    what: "what was asked for before the bearer ended is still answered",
    file: request,
    from: 'respond(work.ended === undefined ? answer : work.ended === "expelled" ? unauthorized() : stopping);',
    to: "respond(answer);",
    killedBy: "^(whoever ends a bearer|what stands on the shared secret)",
    testFile: serverTest,
  },
  {
    what: "whoever ends a bearer does not wait",
    file: "packages/gateway/src/http/in-flight.ts",
    from: "await Promise.all(requests.map(({ settled }) => settled));",
    to: "",
    killedBy: "^whoever ends a bearer",
    testFile: serverTest,
  },
  {
    what: "a bearer's time may run out while it is served",
    file: request,
    from: "if (verdict.endsInMs !== undefined) work.expelAfter(verdict.endsInMs);",
    to: "",
    killedBy: "^a request that lasts longer",
    testFile: serverTest,
  },
];

import type { Mutant } from "./mutant-list.ts";

const attemptsTest = "packages/gateway/src/identity/attempts.test.ts";
const credentialsTest = "test/credentials.test.ts";
const tlsTest = "test/tls.test.ts";

/** The gateway's own credentials: attempts, modes, rotation, TLS. */
export const credentialsMutants: readonly Mutant[] = [
  {
    what: "failed attempts lock nobody out",
    file: "packages/gateway/src/store/sql/attempts.ts",
    from: "const isLocked = rule.lockMs > 0 && recent.length >= rule.maxFailures;",
    to: "const isLocked = rule.lockMs > 0 && recent.length < 0;",
    killedBy: "^the eleventh wrong secret",
    testFile: attemptsTest,
  },
  {
    what: "any device token passes its peer's lock",
    file: "packages/gateway/src/identity/attempts.ts",
    from: 'if (secret === "right" || offer.token === "right") return',
    to: 'if (secret === "right" || offer.token !== "absent") return',
    killedBy: "^a paired device with its right token",
    testFile: attemptsTest,
  },
  {
    what: "each origin that a guess names is another peer",
    file: "packages/gateway/src/identity/attempts.ts",
    from: '{ key: "pages", rule: lockRule }',
    to: "{ key: origin, rule: lockRule }",
    killedBy: "^pages on this machine are locked out together",
    testFile: attemptsTest,
  },
  {
    what: "other peers' failures push a lock out",
    file: "packages/gateway/src/store/sql/attempts.ts",
    from: 'is("locked_at_ms", "is", null), ',
    to: 'is("touched_at_ms", ">=", 0), ',
    killedBy: "^a lock outlives",
    testFile: attemptsTest,
  },
  {
    what: "mode none is served beyond loopback",
    file: "packages/gateway/src/kit/exposure.ts",
    from: 'if (mode === "none" && !isLoopbackBind(bind)) {',
    to: 'if (mode === "none" && bind === "") {',
    killedBy: "^mode none beyond loopback",
    testFile: credentialsTest,
  },
  {
    what: "a page is paired silently in mode none",
    file: "packages/gateway/src/identity/grant.ts",
    from: '(method === "none" && !peer.hasOrigin)',
    to: 'method === "none"',
    killedBy: "^mode none pairs a program",
    testFile: credentialsTest,
  },
  {
    what: "the old secret is right after a rotation",
    file: "packages/gateway/src/identity/shared-secret.ts",
    from: "equals: (candidate) => file.look()?.equals(candidate) ?? false,",
    to: "equals: (candidate) => (file.look()?.equals(candidate) ?? false) || initial.equals(candidate),",
    killedBy: "^a secret file that changes",
    testFile: credentialsTest,
  },
  {
    what: "a connection on the old secret stays open",
    file: "packages/gateway/src/connection/connection.ts",
    from: 'if (this.principal?.kind === "secret") this.close(4001, "gateway auth changed");',
    to: 'if (this.principal?.kind === "run") this.close(4001, "gateway auth changed");',
    killedBy: "^a secret file that changes",
    testFile: credentialsTest,
  },
  {
    what: "plain text is served beyond loopback",
    file: "packages/gateway/src/kit/exposure.ts",
    from: 'if (tls.mode === "off" && !tls.insecurePlaintext && !isLoopbackBind(bind)) {',
    to: 'if (tls.mode === "off" && !tls.insecurePlaintext && bind === "") {',
    killedBy: "^plain text on",
    testFile: "packages/gateway/src/kit/exposure.test.ts",
  },
  {
    what: "a pinned client speaks to any certificate",
    file: "packages/client/src/pinned-socket.ts",
    from: "if (parseFingerprint(shown) !== pinned) {",
    to: 'if (shown === "") {',
    killedBy: "^another certificate than",
    testFile: tlsTest,
  },
];

/** The modules that decide about authority, each with the narrowest tests that stand for it. */
export const modules: Readonly<Record<string, readonly string[]>> = {
  "packages/gateway/src/principal/lattice.ts": ["packages/gateway/src/principal/lattice.test.ts"],
  "packages/gateway/src/principal/principal.ts": [
    "packages/gateway/src/principal/principal.test.ts",
    "packages/gateway/src/principal/permits.test.ts",
    "packages/gateway/src/principal/run-authority.test.ts",
  ],
  "packages/gateway/src/principal/hearing.ts": ["packages/gateway/src/principal/hearing.test.ts"],
  "packages/gateway/src/principal/approvers.ts": ["packages/gateway/src/principal/approvers.test.ts"],
  "packages/gateway/src/principal/permission.ts": ["packages/gateway/src/dispatch/dispatch.test.ts"],
  "packages/protocol/src/scopes.ts": ["packages/protocol/src/scopes.test.ts"],
  "packages/gateway/src/identity/grant.ts": ["packages/gateway/src/identity/grant.test.ts"],
  "packages/gateway/src/identity/standing.ts": ["packages/gateway/src/identity/standing.test.ts"],
  "packages/gateway/src/dispatch/dispatch.ts": ["packages/gateway/src/dispatch/dispatch.test.ts"],
};

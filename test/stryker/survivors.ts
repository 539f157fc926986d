/** Changes to the code that no test notices, each with the reason why none could. */

/** One change that survived: `from`, which begins in `line` of `file`, became `to`. White space counts as one blank. */
export interface Change {
  readonly file: string;
  readonly line: string;
  readonly from: string;
  readonly to: string;
}

export interface Survivor extends Change {
  readonly why: string;
}

const placeholder = '["Stryker was here"]';
const impliedBy = {
  file: "packages/protocol/src/scopes.ts",
  line: "return Object.hasOwn(implied, scope) ? (implied[scope] ?? []) : [];",
  from: "[]",
  to: placeholder,
};
const isMethod = {
  file: "packages/gateway/src/dispatch/dispatch.ts",
  line: 'if (definition === undefined || !isMethodName(name)) throw new ProtocolError("UNKNOWN_METHOD", `unknown method: ${name.slice(0, 200)}`);',
  why: "both ask whether the name is an own one of the table; the second tells the type system what the name then is",
};

const ofRunsAlone = {
  file: "packages/gateway/src/principal/principal.ts",
  from: 'principal.kind === "run"',
  to: "true",
  why: "no other principal has such a property; the question is the type system's",
};

const ofDevicesAlone = {
  from: 'principal.kind === "device"',
  to: "true",
  why: "no other principal has a role; the question is the type system's",
};

export const survivors: readonly Survivor[] = [
  {
    ...ofDevicesAlone,
    file: "packages/gateway/src/principal/hearing.ts",
    line: 'const isOperator = principal.kind === "secret" || (principal.kind === "device" && principal.role === "operator");',
  },
  {
    ...ofDevicesAlone,
    file: "packages/gateway/src/principal/approvers.ts",
    line: 'return principal.kind === "device" && principal.role === "operator" && reviewers.includes(principal.deviceId);',
  },
  {
    file: "packages/gateway/src/principal/lattice.ts",
    line: "return bound >= 0 ? bound : 0;",
    from: "bound >= 0",
    to: "bound > 0",
    why: "0 is 0 either way",
  },
  {
    file: "packages/gateway/src/principal/lattice.ts",
    line: 'return depth === "none" || !(depth >= 0) ? Infinity : depth;',
    from: 'depth === "none"',
    to: "false",
    why: "a word is not >= 0; the first tells the type system that the second compares numbers",
  },
  { ...ofRunsAlone, line: 'return principal.kind === "run" ? principal.rootSessionKey : undefined;' },
  { ...ofRunsAlone, line: 'return (principal.kind === "run" ? principal.policyOf : undefined) ?? [];' },
  { ...impliedBy, why: "only the type system can ask for an own key of the table without a value" },
  { ...impliedBy, why: "implies a scope that no method asks for" },
  {
    file: "packages/gateway/src/identity/grant.ts",
    line: 'if (secret !== "right" && ceiling !== undefined && !coversAll(tokenScopes, ask.scopes)) return refuse("AUTH_SCOPE_MISMATCH");',
    from: "ceiling !== undefined",
    to: "true",
    why: "a token is right only for a role with a grant, and a role with a grant has a ceiling; either answer grants nothing",
  },
  {
    file: "packages/gateway/src/identity/standing.ts",
    line: 'if (state.kind === "corrupt" || isCorrupt(state, device)) return { kind: "corrupt" };',
    from: 'state.kind === "corrupt"',
    to: "false",
    why: "isCorrupt says the same of it; the first tells the type system that the rest is none",
  },
  { ...isMethod, from: "definition === undefined || !isMethodName(name)", to: "definition === undefined && !isMethodName(name)" },
  { ...isMethod, from: "definition === undefined", to: "false" },
  {
    file: "packages/gateway/src/dispatch/dispatch.ts",
    line: 'const isKnownByParams = typeof definition.scope === "object" || principal.kind === "lifecycle";',
    from: 'typeof definition.scope === "object" || principal.kind === "lifecycle"',
    to: "true",
    why: "the scope is still answered before the parameters; they were only parsed in vain",
  },
  {
    file: "packages/gateway/src/dispatch/dispatch.ts",
    line: "if (isKnownByParams) assertPermitted(permits(principal, name, definition, parsed.ok ? parsed.params : undefined));",
    from: "isKnownByParams",
    to: "true",
    why: "asks a second time what does not depend on the parameters",
  },
];

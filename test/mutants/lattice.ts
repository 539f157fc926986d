import { type Mutant, tests } from "./mutant-list.ts";

const testFile = tests.lattice;
const lattice = { file: "packages/gateway/src/principal/lattice.ts", testFile };
const scopes = { file: "packages/protocol/src/scopes.ts", testFile };

export const latticeMutants: readonly Mutant[] = [
  {
    ...lattice,
    what: "no scopes in an ask means the parent's",
    from: "scopes: meetScopes(a.scopes, b.scopes),",
    to: "scopes: b.scopes.length === 0 ? a.scopes : meetScopes(a.scopes, b.scopes),",
    killedBy: "an empty ask is an empty grant",
  },
  {
    ...lattice,
    what: "what an ask leaves out is the parent's",
    from: "{ ...nothing, ...ask }",
    to: "{ ...parent, ...ask }",
    killedBy: "an empty ask is an empty grant",
  },
  {
    ...lattice,
    what: "an ask is granted as it is",
    from: "return meet(parent, { ...nothing, ...ask });",
    to: "return { ...meet(parent, parent), ...ask };",
    killedBy: "attenuate is below the parent",
  },
  {
    ...lattice,
    what: "one owner makes two",
    from: "owner: isOwner(a) && isOwner(b),",
    to: "owner: isOwner(a) || isOwner(b),",
    killedBy: "meet is below both",
  },
  {
    ...lattice,
    what: "the owner bit holds at every depth",
    from: "return owner && depth === 0;",
    to: "return owner;",
    killedBy: "what is owner at a depth below 0",
  },
  {
    ...lattice,
    what: "one side outside the sandbox takes both out",
    from: 'a.sandbox === "unconfined" && b.sandbox === "unconfined" ?',
    to: 'a.sandbox === "unconfined" || b.sandbox === "unconfined" ?',
    killedBy: "less in sandbox alone",
  },
  {
    ...lattice,
    what: "no names means all names",
    from: 'return have === "all" || (need',
    to: 'return have === "all" || have.length === 0 || (need',
    killedBy: "less in no tools alone",
  },
  {
    ...lattice,
    what: "all names beside some are all",
    from: 'return b === "all" ? "all" : sorted(b);',
    to: 'return "all";',
    killedBy: "less in tools alone",
  },
  {
    ...lattice,
    what: "a negative bound stays one",
    from: "return bound >= 0 ? bound : 0;",
    to: "return bound;",
    killedBy: "what comes out is well formed",
  },
  {
    ...lattice,
    what: "the larger bound wins",
    from: "const least = Math.min(",
    to: "const least = Math.max(",
    killedBy: "less in tokens alone",
  },
  {
    ...lattice,
    what: "the shallower depth wins",
    from: "const depth = Math.max(",
    to: "const depth = Math.min(",
    killedBy: "less in depth alone",
  },
  {
    ...lattice,
    what: "one budget that covers is enough",
    from: "budgetKeys.every(",
    to: "budgetKeys.some(",
    killedBy: "less in tokens alone",
  },
  {
    ...lattice,
    what: "the deadline is not compared",
    from: "toNumber(have.deadline) >= toNumber(need.deadline)",
    to: "true",
    killedBy: "less in deadline alone",
  },
  {
    ...scopes,
    what: "meet keeps what only one side has",
    from: "a.filter((scope) => covers(b, scope))",
    to: "a.filter(() => true)",
    killedBy: "meet is below both",
  },
  {
    ...scopes,
    what: "meet forgets what lies beneath both",
    from: "const beneath = a.flatMap(impliedBy)",
    to: "const beneath = [].flatMap(impliedBy)",
    killedBy: "no scope in common",
  },
  {
    ...scopes,
    what: "write brings pairing",
    from: '"operator.write": ["operator.read",',
    to: '"operator.write": ["operator.pairing", "operator.read",',
    testFile: tests.policy,
    killedBy: "in process, the local secret",
  },
  {
    ...scopes,
    what: "admin covers what is no operator's",
    from: 'need.startsWith("operator.")',
    to: 'need !== ""',
    testFile: tests.principal,
    killedBy: "a scope that is no operator's",
  },
];

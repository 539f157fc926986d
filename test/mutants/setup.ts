import type { Mutant } from "./mutant-list.ts";

const codes = "packages/gateway/src/identity/setup-codes.ts";
const codeStore = "packages/gateway/src/store/sql/setup-codes.ts";
const connect = "packages/client/src/connect.ts";
const setup = "test/setup.test.ts";

export const setupMutants: readonly Mutant[] = [
  {
    what: "a code works again after its use",
    file: codeStore,
    from: 'if (row.used_at_ms !== null) return "used";',
    to: "",
    testFile: setup,
    killedBy: "^a code works once",
  },
  {
    what: "a code is bound to no key",
    file: codeStore,
    from: "return row.bound_key !== null && row.bound_key !== publicKey",
    to: 'return row.bound_key !== null && publicKey === ""',
    testFile: setup,
    killedBy: "^a code belongs to the first key",
  },
  {
    what: "a code grants admin when nothing is said",
    file: codes,
    from: '  "operator.approvals",\n',
    to: '  "operator.admin",\n',
    testFile: setup,
    killedBy: "^a code that nothing was said about",
  },
  {
    what: "a code grants what is asked",
    file: codeStore,
    from: "if (role !== row.role || !coversAll(granted, scopes))",
    to: "if (role !== row.role)",
    testFile: setup,
    killedBy: "^a code presented with an ask for a wider scope",
  },
  {
    what: "a code never expires",
    file: codeStore,
    from: "if (row.expires_at_ms <= nowMs)",
    to: "if (row.expires_at_ms < 0)",
    testFile: setup,
    killedBy: "^a code that has expired",
  },
  {
    what: "a code's token is stored as it is",
    file: codes,
    from: 'return createHash("sha256").update(token).digest("hex");',
    to: "return createHash('sha256') && token;",
    testFile: setup,
    killedBy: "^issuing and using a code",
  },
  {
    what: "a code grants more than its issuer holds",
    file: codes,
    from: 'role === "node" ? [] : attenuateScopes(issuer, ask.scopes ?? defaultSetupScopes)',
    to: 'role === "node" ? [] : attenuateScopes(issuer, []).concat(ask.scopes ?? defaultSetupScopes)',
    testFile: "packages/gateway/src/identity/setup-codes.test.ts",
    killedBy: "^a code never grants more",
  },
  {
    what: "the proof of a device that presents a code is not looked at",
    file: codes,
    from: 'if (proof.kind === "refused") return',
    to: 'if (proof.kind === "refused" && nowMs < 0) return',
    testFile: setup,
    killedBy: "^a code without a device proof",
  },
  {
    what: "the pin is ignored",
    file: connect,
    from: 'if (verdict.kind === "changed") throw',
    to: 'if (verdict.kind === "changed" && this.#reached === false) throw',
    testFile: "packages/client/src/gateway-pins.test.ts",
    killedBy: "^where a gateway is known",
  },
  {
    what: "a changed key is pinned in place of the known one",
    file: "packages/client/src/gateway-pins.ts",
    from: 'return { kind: "changed", pinned };',
    to: 'return { kind: "known", vouched: false };',
    testFile: "test/gateways.test.ts",
    killedBy: "^another gateway at a known address",
  },
  {
    what: "nothing is asked before a code's address is connected to",
    file: "packages/cli/src/commands/pair.ts",
    from: "  await assertWanted(io, address, flags);\n",
    to: "",
    testFile: "test/setup-cli.test.ts",
    killedBy: "^without a yes|^a person is asked",
  },
  {
    what: "the words leave the gateway's key out",
    file: "packages/protocol/src/words.ts",
    from: '["portreeve-words", gatewayKey, deviceKey, nonce, signature]',
    to: '["portreeve-words", gatewayKey.slice(0, 0), deviceKey, nonce, signature]',
    testFile: "packages/protocol/src/words.test.ts",
    killedBy: "^another gatewayKey",
  },
  {
    what: "a locked peer's right setup code pairs",
    file: "packages/gateway/src/identity/setup-codes.ts",
    from: 'if (settled.kind === "locked") return',
    to: 'if (settled.kind === "locked" && !isGood) return',
    testFile: "test/setup.test.ts",
    killedBy: "ten wrong codes in a minute",
  },
];

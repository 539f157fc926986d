/** Guards are broken on purpose, one at a time: the test named beside each must go red. */
import assert from "node:assert/strict";
import test from "node:test";
import { copyProject, type Mutation } from "./support/mutant.ts";

interface Mutant extends Mutation {
  readonly what: string;
  /** A pattern of test names in `testFile`. */
  readonly killedBy: string;
  /** Absent: `test/invariants.test.ts`. */
  readonly testFile?: string;
}

const invariants = "test/invariants.test.ts";
const principal = "packages/gateway/src/principal/principal.ts";
const turn = "packages/gateway/src/runs/turn.ts";

const management = "packages/gateway/src/store/sql/device-management.ts";
const pairing = { testFile: "test/pairing.test.ts" };
const requests = { testFile: "test/pairing-requests.test.ts" };
const upgrade = { testFile: "test/scope-upgrade.test.ts" };
const elevation = { testFile: "test/elevation.test.ts" };

const mutants: readonly Mutant[] = [
  {
    what: "the launch of a child carries admin",
    file: principal,
    from: "return { scopes: attenuate(parent, runScopes), owner: false, depth: parentDepth + 1 };",
    to: 'return { scopes: ["operator.admin"], owner: true, depth: parentDepth + 1 };',
    killedBy: "^6\\.",
  },
  {
    what: "a child counts as the owner's run",
    file: principal,
    from: "owner: owner && depth === 0,",
    to: "owner: true,",
    killedBy: "^7\\.",
  },
  {
    what: "an owner-only tool is looked up without the policy at execution",
    file: turn,
    from: "const tool = this.#tools().find((one) => one.name === call.name);",
    to: "const tool = this.#deps.tools.find((one) => one.name === call.name);",
    killedBy: "^7\\. an owner-only",
  },
  {
    what: "lifecycle work is done with write scope instead of the capability",
    file: principal,
    from: 'if (principal.kind === "lifecycle") {\n    const isItsOwn',
    to: 'if (principal.kind === "lifecycle" && Boolean(0)) {\n    const isItsOwn',
    killedBy: "^8\\.",
  },
  {
    what: "the lifecycle capability reaches every session",
    file: principal,
    from: 'return typeof params === "object" && params !== null && "key" in params && params.key === key;',
    to: 'return typeof params === "object" && params !== null && key !== "";',
    killedBy: "^8\\.",
  },
  {
    what: "a spawn fails and still makes its calls",
    file: "packages/gateway/src/subagents/spawn.ts",
    from: 'if (outcome.kind !== "accepted" && outcome.kind !== "replayed") throw toRefusal(outcome, deps.limits);',
    to: 'if (outcome.kind !== "replayed") throw toRefusal({ kind: "parent-ended" }, deps.limits);',
    killedBy: "^3\\.",
  },
  {
    what: "an empty set of scopes means everything the caller has",
    file: principal,
    from: 'return principal.kind === "lifecycle" ? principal : { ...principal, scopes: attenuate(principal, scopes) };',
    to: 'return principal.kind === "lifecycle" || scopes.length === 0 ? principal : { ...principal, scopes: attenuate(principal, scopes) };',
    killedBy: "^9\\.",
  },
  {
    what: "a missing scope is not refused",
    file: principal,
    from: 'return covers(principal.scopes, needed) ? { kind: "permitted" } : { kind: "missing-scope", scope: needed };',
    to: 'return covers(principal.scopes, needed) || true ? { kind: "permitted" } : { kind: "missing-scope", scope: needed };',
    killedBy: "^10\\.",
  },
  {
    what: "a run that has ended may spawn",
    file: "packages/gateway/src/store/sql/admission.ts",
    from: 'parentRun?.status !== "running") return { kind: "parent-ended" };',
    to: 'parentRun === undefined) return { kind: "parent-ended" };',
    killedBy: "^11\\. a run that has ended",
  },
  {
    what: "a run carries its starter's whole authority",
    file: principal,
    from: "return { scopes: attenuate(starter, runScopes), owner: isPerson",
    to: "return { scopes: starter.scopes, owner: isPerson",
    killedBy: "^11\\. a run inherits",
  },
  {
    what: "a token is rotated beyond what is approved",
    file: management,
    from: 'if (!coversAll(grant.scopes, asked)) return denied("beyond what is approved");',
    to: "",
    killedBy: "^a rotation stays within",
    ...pairing,
  },
  {
    what: "a token is rotated beyond what the caller holds",
    file: management,
    from: 'if (!coversAll(scopes, asked)) return denied("beyond what the actor holds");',
    to: "",
    killedBy: "^a rotation stays within",
    ...pairing,
  },
  {
    what: "an empty list of scopes rotates to what the token had",
    file: management,
    from: "normaliseScopes(rotation.scopes ?? grant.tokenScopes)",
    to: "normaliseScopes(rotation.scopes?.length ? rotation.scopes : grant.tokenScopes)",
    killedBy: "^a rotation to no scopes",
    ...pairing,
  },
  {
    what: "a rotated token is returned to whoever asks",
    file: management,
    from: 'mayReceive: deviceId === actor.deviceId || covers(scopes, "operator.admin"),',
    to: "mayReceive: true,",
    killedBy: "^a rotated token goes to",
    ...pairing,
  },
  {
    what: "a revoked device's sockets are closed after the answer",
    file: "packages/gateway/src/identity/device-management.ts",
    from: 'await deps.expel({ deviceId, role }, asked);\n      changed({ deviceId, role, by: by.id }, "device token revoked");',
    to: 'setImmediate(() => deps.expel({ deviceId, role }, asked));\n      changed({ deviceId, role, by: by.id }, "device token revoked");',
    killedBy: "^device.token.revoke closes",
    ...pairing,
  },
  {
    what: "a removal is answered while the device's requests can still write",
    file: "packages/gateway/src/connection/door.ts",
    from: "await Promise.all(unsettled);",
    to: "",
    killedBy: "^what a device had in flight",
    ...pairing,
  },
  {
    what: "a device that is just being let in is not closed with the others",
    file: "packages/gateway/src/connection/connection.ts",
    from: "return this.#claim;",
    to: "return this.#session === undefined ? undefined : this.#claim;",
    killedBy: "^a socket that was being let in",
    ...pairing,
  },
  {
    what: "the connection that asked goes on after its own removal",
    file: "packages/gateway/src/connection/requests.ts",
    from: "this.#last = { signal, finish };\n    this.end();",
    to: "this.#last = { signal, finish };",
    killedBy: "^whoever lost its authority",
    testFile: "packages/gateway/src/connection/requests.test.ts",
  },
  {
    what: "a device that is paired again starts with the first generation",
    file: "packages/gateway/src/store/sql/devices.ts",
    from: "generation: (stored?.generation ?? past?.generation ?? 0) + 1,",
    to: "generation: (stored?.generation ?? 0) + 1,",
    killedBy: "^a removed device that is paired again",
    ...pairing,
  },
  {
    what: "a removed key is not remembered",
    file: management,
    from: "await refuseKey(tx, device.public_key, nowMs);\n  const facts",
    to: "const facts",
    killedBy: "^a removed device that is paired again",
    ...pairing,
  },
  {
    what: "a session by device token manages every device",
    file: "packages/gateway/src/identity/device-management.ts",
    from: 'const ownDeviceOnly = principal.viaDeviceToken && !covers(scopes, "operator.admin");',
    to: "const ownDeviceOnly = false;",
    killedBy: "^a session by device token",
    ...pairing,
  },
  {
    what: "a role other than operator is managed without admin",
    file: management,
    from: 'if (role !== "operator" && !covers(scopes, "operator.admin")) return denied("a role other than operator needs admin");',
    to: "",
    killedBy: "^roles other than operator",
    ...pairing,
  },
  {
    what: "a role upgrade is silent",
    file: "packages/gateway/src/identity/grant.ts",
    from: 'if (ceiling === undefined) return { kind: "pend", reason: "role-upgrade" };',
    to: 'if (ceiling === undefined) return { kind: "admit", method: "token", scopes: normaliseScopes(ask.scopes) };',
    killedBy: "waits as role-upgrade",
    ...requests,
  },
  {
    what: "a changed platform is let in",
    file: "packages/gateway/src/identity/grant.ts",
    from: 'if (metadataChanged) return { kind: "pend", reason: "metadata-upgrade" };',
    to: "",
    killedBy: "waits as metadata-upgrade",
    ...requests,
  },
  {
    what: "an expired request can still be approved",
    file: "packages/gateway/src/store/sql/devices.ts",
    from: 'row.state !== "pending" || row.expires_at_ms <= nowMs) return { kind: "unknown" };',
    to: 'row.state !== "pending") return { kind: "unknown" };',
    killedBy: "^an expired request",
    ...requests,
  },
  {
    what: "an elevation has no end for a new connection",
    file: "packages/gateway/src/store/grants.ts",
    from: "return leftMs > 0 ? leftMs : undefined;",
    to: "return Math.max(leftMs, 1_000);",
    killedBy: "^admin for ten minutes|^an elevation that ended",
    ...elevation,
  },
  {
    what: "an elevation has no end for an open connection",
    file: "packages/gateway/src/identity/pairing.ts",
    from: "endsAtMs: leftMs === undefined ? undefined : nowMs + leftMs,",
    to: "endsAtMs: undefined,",
    killedBy: "^a request that comes when the time is over",
    ...elevation,
  },
  {
    what: "a clock moved back gives an elevation more time",
    file: "packages/gateway/src/store/grants.ts",
    from: "elevation.untilMs - Math.max(nowMs, elevation.seenMs);",
    to: "elevation.untilMs - nowMs;",
    killedBy: "^a clock that is moved back",
    ...elevation,
  },
  {
    what: "whoever is elevated hands it on for good",
    file: management,
    from: "return meet(actor.scopes, isWithin ? ceilingOf(grant, nowMs) : grant.scopes);",
    to: "return meet(actor.scopes, ceilingOf(grant, nowMs));",
    killedBy: "^whoever holds a scope for a time|^a device does not make its own",
    ...elevation,
  },
  {
    what: "an upgrade that is asked for live is granted",
    file: "packages/gateway/src/identity/scope-upgrade.ts",
    from: "if (outcome.created) announceRequest(deps, outcome.request, outcome.superseded, facts.grants);",
    to: 'await deps.store.approve(outcome.request.requestId, { id: "x", scopes: ["operator.admin"], deviceId: undefined, ownDeviceOnly: false }, deps.clock.now());',
    killedBy: "^an upgrade is never silent",
    ...upgrade,
  },
  {
    what: "a node's commands are approved by whoever may pair",
    file: "packages/gateway/src/store/sql/nodes.ts",
    from: 'if (beyond !== undefined) return { kind: "exceeds-approver", scope: beyond };',
    to: "",
    killedBy: "is approved only by whoever holds",
    testFile: "test/node-pairing.test.ts",
  },
  {
    what: "a node that declares more is not asked about again",
    file: "packages/gateway/src/store/sql/nodes.ts",
    from: "declared.commands.every((command) => approved.commands.includes(command)) &&",
    to: "",
    killedBy: "^the same or a narrower declaration",
    testFile: "test/node-pairing.test.ts",
  },
  {
    what: "anybody may wait for an upgrade and get its token",
    file: "packages/gateway/src/identity/scope-upgrade.ts",
    from: "if (request === undefined || request.deviceId !== deviceId) throw unknownRequest(requestId);",
    to: "if (request === undefined) throw unknownRequest(requestId);",
    killedBy: "^only the device that asked",
    ...upgrade,
  },
];

test("every broken guard is noticed by the test that stands for it", { timeout: 600_000 }, async (t) => {
  await using copy = await copyProject();

  for (const { what, killedBy, testFile = invariants, ...mutation } of mutants) {
    await t.test(what, async () => {
      const { failed, ran } = await copy.run(testFile, killedBy, mutation);

      assert.ok(ran > 0, `no test is named ${killedBy}`);
      assert.ok(failed.length > 0, `all ${ran} tests named ${killedBy} stayed green`);
    });
  }

  await t.test("without a change all of them are green", async () => {
    for (const [testFile, group] of Map.groupBy(mutants, (mutant) => mutant.testFile ?? invariants)) {
      const { failed, ran } = await copy.run(testFile, group.map((mutant) => mutant.killedBy).join("|"));

      assert.deepEqual(failed, []);
      assert.ok(ran > 0, testFile);
    }
  });
});

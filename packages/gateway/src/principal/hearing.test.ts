import assert from "node:assert/strict";
import test from "node:test";
import type { EventName } from "@portreeve/protocol";
import { mayHear } from "./hearing.ts";
import { devicePrincipal, lifecyclePrincipal, type Principal, runPrincipal, secretPrincipal } from "./principal.ts";

const operator = (...scopes: string[]): Principal => devicePrincipal({ deviceId: "d", role: "operator", scopes });
const node = devicePrincipal({ deviceId: "n", role: "node", scopes: ["operator.admin"] });
const authority = { scopes: ["operator.write"], owner: true, depth: 0 };
const run = runPrincipal({ runId: "r", sessionKey: "agent:main:main", rootSessionKey: "agent:main:main", authority });

const forAll: EventName = "tick";
const forReaders: EventName = "chat";
const forOne: EventName = "node.invoke.request";

const table: readonly (readonly [who: string, principal: Principal | undefined, hears: readonly EventName[]])[] = [
  ["nobody", undefined, []],
  ["an operator without a scope", operator(), [forAll]],
  ["an operator with another scope", operator("operator.pairing"), [forAll]],
  ["an operator with the scope", operator("operator.read"), [forAll, forReaders]],
  ["an operator with a scope that implies it", operator("operator.admin"), [forAll, forReaders]],
  ["an operator with a scope named as whom it is for", operator("addressee", "everyone"), [forAll]],
  ["the secret without a scope", secretPrincipal([]), [forAll]],
  ["the secret with the scope", secretPrincipal(["operator.read"]), [forAll, forReaders]],
  ["a node, whatever it holds", node, [forAll]],
  ["a run, whatever it holds", run, [forAll]],
  ["what ends a session", lifecyclePrincipal("agent:main:main"), [forAll]],
];

for (const [who, principal, hears] of table) {
  test(`${who} hears ${hears.join(" and ") || "nothing"}`, () => {
    assert.deepEqual(
      [forAll, forReaders, forOne].filter((name) => mayHear(principal, name)),
      hears,
    );
  });
}

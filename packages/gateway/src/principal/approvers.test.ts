import assert from "node:assert/strict";
import test from "node:test";
import { mayDecideApproval, maySeeApproval } from "./approvers.ts";
import { devicePrincipal, type Principal, runPrincipal, secretPrincipal } from "./principal.ts";

const device = (deviceId: string, ...scopes: string[]): Principal => devicePrincipal({ deviceId, role: "operator", scopes });
const authority = { scopes: ["operator.admin"], owner: true, depth: 0 };
const run = runPrincipal({ runId: "r", sessionKey: "agent:main:main", rootSessionKey: "agent:main:main", authority });
const asked = { requester: "device:asks", reviewers: ["reviews"] };

const table: readonly (readonly [who: string, principal: Principal, sees: boolean, decides: boolean])[] = [
  ["whoever asked", device("asks", "operator.approvals"), true, false],
  ["whoever asked, with admin", device("asks", "operator.admin"), true, false],
  ["a device the request names", device("reviews", "operator.approvals"), true, true],
  ["a device the request names, without the scope", device("reviews", "operator.write"), false, false],
  ["a node of that name", devicePrincipal({ deviceId: "reviews", role: "node", scopes: ["operator.approvals"] }), false, false],
  ["another approver", device("other", "operator.approvals"), false, false],
  ["an admin", device("other", "operator.admin"), true, true],
  ["the secret with admin", secretPrincipal(["operator.admin"]), true, true],
  ["the secret", secretPrincipal(["operator.approvals"]), false, false],
  ["a run", run, false, false],
];

for (const [who, principal, sees, decides] of table) {
  test(`${who} ${sees ? "sees" : "does not see"} the request and ${decides ? "decides" : "does not decide"} it`, () => {
    assert.deepEqual([maySeeApproval(principal, asked), mayDecideApproval(principal, asked)], [sees, decides]);
  });
}

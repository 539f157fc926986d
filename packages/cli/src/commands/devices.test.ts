import assert from "node:assert/strict";
import { test } from "node:test";
import type { PairedDevice, PairingRequest } from "@portreeve/protocol";
import { CliError } from "../exit.ts";
import { findRequest, scopesToApprove, showDevices } from "./devices.ts";

const at = Date.UTC(2026, 0, 2, 3, 4, 5);
const waiting: PairingRequest = {
  requestId: "4f9d1c2a-1111",
  deviceId: "d".repeat(64),
  publicKey: "k",
  displayName: "Kitchen",
  clientId: "cli",
  clientMode: "cli",
  role: "operator",
  roles: ["operator"],
  scopes: ["operator.read"],
  remoteIp: "192.0.2.7",
  silent: false,
  isRepair: false,
  reason: "scope-upgrade",
  ts: at,
  expiresAtMs: at + 300_000,
  words: "acorn lion maple quilt",
};
const paired: PairedDevice = {
  deviceId: "e".repeat(64),
  publicKey: "k",
  clientId: "cli",
  clientMode: "cli",
  role: "operator",
  roles: ["operator"],
  scopes: ["operator.admin"],
  approvedVia: "silent",
  createdAtMs: at,
  approvedAtMs: at,
  connected: false,
  lastSeenAtMs: at,
  tokens: [],
};

test("those who wait are shown before those who are paired", () => {
  const text = showDevices({ pending: [waiting], paired: [paired] });

  assert.deepEqual(text.split("\n"), [
    "Waiting (./portreeve devices approve ID):",
    "ID        NAME                ROLE      SCOPES         SINCE              WORDS                   WHY",
    "4f9d1c2a  Kitchen (dddddddd)  operator  operator.read  2026-01-02 03:04Z  acorn lion maple quilt  scope-upgrade from 192.0.2.7",
    "",
    "Paired:",
    "DEVICE    NAME            ROLE      SCOPES          SINCE              LAST SEEN          APPROVED",
    "eeeeeeee  cli (eeeeeeee)  operator  operator.admin  2026-01-02 03:04Z  2026-01-02 03:04Z  silently (local)",
  ]);
});

test("a stranger's name cannot forge the table", () => {
  const text = showDevices({ pending: [{ ...waiting, displayName: "x\u001b[1A\u001b[2K\nPaired: me" }], paired: [] });

  assert.match(text, /^4f9d1c2a {2}x Paired: me \(dddddddd\)/m);
  assert.equal(text.split("\n").length, 5);
});

test("a request is found by the beginning of its id, when only one begins so", () => {
  const other = { ...waiting, requestId: "4f9dffff-2222" };
  const list = { pending: [waiting, other], paired: [] };

  assert.equal(findRequest(list, "4f9d1"), waiting);
  assert.throws(
    () => findRequest(list, "4f9d"),
    (error) => error instanceof CliError && error.exit === "usage" && /2 waiting requests/.test(error.message),
  );
  for (const id of ["zz", ""])
    assert.throws(
      () => findRequest(list, id),
      (error) => error instanceof CliError && error.code === "UNKNOWN_REQUEST",
    );
});

const approvals: readonly (readonly [Pick<PairingRequest, "role" | "roles" | "scopes">, readonly string[]])[] = [
  [{ role: "operator", roles: ["operator"], scopes: [] }, ["operator.pairing"]],
  [{ role: "operator", roles: ["operator"], scopes: ["operator.read", "operator.pairing"] }, ["operator.pairing", "operator.read"]],
  [{ role: "node", roles: ["node"], scopes: [] }, ["operator.pairing", "operator.admin"]],
  [{ role: "operator", roles: ["operator", "node"], scopes: ["operator.read"] }, ["operator.pairing", "operator.read", "operator.admin"]],
];

for (const [request, scopes] of approvals) {
  test(`approving ${request.roles.join()} with [${request.scopes.join()}] needs [${scopes.join()}]`, () => {
    assert.deepEqual(scopesToApprove(request), scopes);
  });
}

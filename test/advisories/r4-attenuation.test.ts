/** Nobody hands on what they do not hold: not by an approval, not by an empty ask, not by a chat command. */
import assert from "node:assert/strict";
import { script } from "../support/script.ts";
import { dumpPairing } from "../support/stored-pairing.ts";
import { connectWire, createWireKey, refusedConnect } from "../support/wire-client.ts";
import { advisory, fromRemote, ownerWith, runToEnd, shareGateway } from "./advisory.ts";

const shared = shareGateway();

/** A device from elsewhere that asks for `scopes`; answers the id of its request. */
async function askFromRemote(scopes: readonly string[], role?: string): Promise<string> {
  const { gateway } = shared;
  const ask = { key: createWireKey(), token: gateway.token, scopes, ...(role === undefined ? {} : { role }) };
  const { error } = await refusedConnect(gateway.url, ask, fromRemote);
  return String(error.details?.["requestId"]);
}

advisory(18, "an approval grants no scope that the approver lacks", async () => {
  const { gateway } = shared;
  const requestId = await askFromRemote(["operator.admin"]);
  await using approver = await ownerWith(gateway, "operator.pairing");
  const before = dumpPairing(gateway.stateDir);

  const { error } = await approver.request("device.pair.approve", { requestId });

  assert.equal(error?.details?.["code"], "MISSING_SCOPE");
  assert.equal(error?.message, "missing scope: operator.admin");
  assert.equal(dumpPairing(gateway.stateDir), before);
});

advisory(19, "an approval written as a chat message approves nothing, whoever writes it", async () => {
  const { gateway } = shared;
  const requestId = await askFromRemote(["operator.read"]);
  await using writer = await ownerWith(gateway, "operator.write");
  await using owner = await ownerWith(gateway, "operator.admin");
  const message = script(`/pair approve ${requestId}`, { say: "no" });

  await runToEnd(writer, message, { key: "writer" });
  await runToEnd(owner, message, { key: "owner" });
  const { payload } = await owner.request("device.pair.list");

  const pending = payload?.["pending"] as { requestId: string }[];
  assert.ok(pending.some((request) => request.requestId === requestId));
});

advisory(23, "pairing again with an empty set hands back no old scope that the approver lacks", async () => {
  const { gateway } = shared;
  const key = createWireKey();
  await using first = await connectWire(gateway.url, { key, token: gateway.token, scopes: ["operator.write"] });
  const client = { platform: "plan9" };
  const { error } = await refusedConnect(gateway.url, { key, token: gateway.token, scopes: [], client });
  const requestId = String(error.details?.["requestId"]);
  await using pairer = await ownerWith(gateway, "operator.pairing");
  const before = dumpPairing(gateway.stateDir);

  const byPairer = await pairer.request("device.pair.approve", { requestId });
  const afterwards = dumpPairing(gateway.stateDir);
  await using owner = await ownerWith(gateway, "operator.pairing", "operator.write");
  const byOwner = await owner.request("device.pair.approve", { requestId });

  assert.ok(first.nonce !== "");
  assert.equal(error.details?.["reason"], "metadata-upgrade");
  assert.equal(byPairer.error?.message, "missing scope: operator.write");
  assert.equal(afterwards, before);
  assert.equal(byOwner.ok, true);
});

advisory(25, "a node is approved neither with write nor with pairing alone", async () => {
  const { gateway } = shared;
  const requestId = await askFromRemote([], "node");
  const outcomes: (string | undefined)[] = [];

  for (const scope of ["operator.write", "operator.pairing", "operator.approvals"]) {
    await using approver = await ownerWith(gateway, scope);
    outcomes.push((await approver.request("device.pair.approve", { requestId })).error?.message);
  }
  await using owner = await ownerWith(gateway, "operator.admin");
  const approved = await owner.request("device.pair.approve", { requestId });

  assert.deepEqual(outcomes, ["missing scope: operator.pairing", "missing scope: operator.admin", "missing scope: operator.pairing"]);
  assert.equal(approved.ok, true);
});

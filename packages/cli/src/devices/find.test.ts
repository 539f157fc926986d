import assert from "node:assert/strict";
import { test } from "node:test";
import { CliError } from "../exit.ts";
import { findDevice, findRequest, findRole } from "./find.ts";
import { ownDevice, pairedDevice, upgradeRequest } from "./fixtures.ts";

const failure = (work: () => unknown): CliError => {
  try {
    work();
  } catch (error) {
    if (error instanceof CliError) return error;
    throw error;
  }
  throw new Error("it did not fail");
};

test("a request is found by the beginning of its id, when only one begins so; else the candidates are named", () => {
  const other = { ...upgradeRequest, requestId: "4f9dffff-2222", displayName: "Hall" };
  const list = { pending: [upgradeRequest, other], paired: [] };

  const error = failure(() => findRequest(list, "4f9d"));

  assert.equal(findRequest(list, "4f9d1"), upgradeRequest);
  assert.equal(error.exit, "usage");
  assert.equal(
    error.message,
    "2 waiting requests begin with 4f9d:\n  4f9d1c2a-1111  Kitchen (dddddddd) asks for: read, write\n  4f9dffff-2222  Hall (dddddddd) asks for: read, write",
  );
  for (const id of ["zz", ""]) assert.equal(failure(() => findRequest(list, id)).code, "UNKNOWN_REQUEST");
});

test("a device's id where a request's is expected leads to the request", () => {
  assert.match(failure(() => findRequest({ pending: [upgradeRequest], paired: [] }, "dddd")).message, /its request, 4f9d1c2a-1111/);
  assert.match(failure(() => findRequest({ pending: [], paired: [pairedDevice] }, "dddd")).message, /no request of it waits/);
});

test("a device is found by the beginning of its id, when only one begins so; else the candidates are named", () => {
  const twin = { ...ownDevice, deviceId: `d${"e".repeat(63)}` };
  const list = { pending: [], paired: [pairedDevice, twin] };

  const error = failure(() => findDevice(list, "d"));

  assert.equal(findDevice(list, "dd"), pairedDevice);
  assert.match(error.message, /^2 paired devices begin with d:\n {2}dddd.*Kitchen.*may: read\n {2}deee.*cli \(deeeeeee\) may: everything/);
  for (const id of ["zz", ""]) assert.equal(failure(() => findDevice(list, id)).code, "UNKNOWN_DEVICE");
});

test("a device that only waits can be turned away, and the refusal says how", () => {
  const list = { pending: [upgradeRequest], paired: [] };

  assert.equal(failure(() => findDevice(list, "dddd")).remedy, "It only waits. To turn it away: ./portreeve devices reject 4f9d1c2a-1111");
});

test("the role need not be named when there is one, and must be when there are more", () => {
  const both = { ...pairedDevice, tokens: [...pairedDevice.tokens, { role: "node", scopes: [], createdAtMs: 1 }] };
  const none = { ...pairedDevice, tokens: pairedDevice.tokens.map((grant) => ({ ...grant, revokedAtMs: 1 })) };

  assert.deepEqual([findRole(pairedDevice, undefined), findRole(both, "node")], ["operator", "node"]);
  assert.equal(failure(() => findRole(both, undefined)).remedy, "Name one: --role operator or --role node");
  assert.equal(failure(() => findRole(pairedDevice, "node")).exit, "usage");
  assert.equal(failure(() => findRole(none, undefined)).code, "UNKNOWN_ROLE");
});

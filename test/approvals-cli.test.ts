/** Approvals from a terminal that may do no more than review: it asks for that and decides what names it. */
import assert from "node:assert/strict";
import { mkdtempDisposable, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { openHome, runCli } from "./support/cli.ts";
import { connectWire, createWireKey } from "./support/wire-client.ts";

test("a reviewer without admin sees and decides the request that names its device, and no other", async () => {
  await using home = await openHome();
  await using other = await mkdtempDisposable(join(tmpdir(), "portreeve-reviewer-"));
  const token = (await readFile(join(home.path, "state", "secret"), "utf8")).trim();
  const invited = await home.cli(["devices", "invite", "--scopes", "operator.approvals", "--json"]);
  const { setupCode } = JSON.parse(invited.out) as { setupCode: string };
  const env = { PORTREEVE_HOME: other.path, PORTREEVE_URL: home.gateway.url };
  const paired = await runCli(["pair", setupCode, "--yes", "--json"], env);
  const { deviceId } = JSON.parse(paired.out) as { deviceId: string };
  await using requester = await connectWire(home.gateway.url, { key: createWireKey(), token, scopes: ["operator.approvals"] });
  const asks = [
    { id: "named-1", command: "make test", approvalReviewerDeviceIds: [deviceId] },
    { id: "named-2", command: "make clean", approvalReviewerDeviceIds: [deviceId] },
    { id: "unnamed", command: "make install" },
  ];
  for (const [index, ask] of asks.entries()) {
    requester.send({ type: "req", id: `ask-${index}`, method: "exec.approval.request", params: { ...ask, twoPhase: true } });
    await requester.frame((frame) => frame.id === `ask-${index}`);
  }

  const list = await runCli(["approvals", "list"], env);
  const approved = await runCli(["approvals", "approve", "named-1", "--yes"], env);
  const denied = await runCli(["approvals", "deny", "named-2"], env);
  const unnamed = await runCli(["approvals", "approve", "unnamed", "--yes"], env);
  const byAdmin = await home.cli(["approvals", "deny", "unnamed"]);

  assert.deepEqual([list.code, approved.code, denied.code, unnamed.code, byAdmin.code], [0, 0, 0, 1, 0], list.err + byAdmin.err);
  assert.match(list.out, /named-1[^]*named-2/);
  assert.doesNotMatch(list.out, /unnamed/);
});

test("a device that may pair and no more calls the methods of pairing, about itself alone", async () => {
  await using home = await openHome();
  await using other = await mkdtempDisposable(join(tmpdir(), "portreeve-pairing-"));
  const env = { PORTREEVE_HOME: other.path, PORTREEVE_URL: home.gateway.url };
  const token = (await readFile(join(home.path, "state", "secret"), "utf8")).trim();
  const { paired } = JSON.parse((await runCli(["devices", "--json", "--token", token], env)).out) as DeviceList;
  const deviceId = paired[0]?.deviceId ?? "";
  await runCli(["devices", "rotate", deviceId, "--scopes", "operator.pairing"], env);

  const called = await runCli(["call", "device.pair.list"], env);
  const all = await runCli(["call", "device.pair.list", "--token", token], env);

  assert.equal(called.code, 0, called.err);
  assert.deepEqual(
    (JSON.parse(called.out) as DeviceList).paired.map((device) => device.deviceId),
    [deviceId],
  );
  assert.equal(all.code, 0, all.err);
});

interface DeviceList {
  readonly paired: readonly { readonly deviceId: string }[];
}

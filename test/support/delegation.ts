/** A run that spawns two children and waits for both: asked for inside and over a socket. */
import assert from "node:assert/strict";
import { script, spawnStep } from "./script.ts";
import type { TestGateway } from "./start-gateway.ts";
import { connectWire, createWireKey, type Frame, type Wire, type WireKey } from "./wire-client.ts";

export const splitInTwo = script(
  "split",
  { call: [spawnStep("left", { say: "L" }), spawnStep("right", { say: "R" })] },
  { awaitChildren: true },
  { say: "{{children}}" },
);

/** Asks in process for a run that spawns two children; fails unless both were accepted, ran and were announced. */
export async function spawnTwoInside(gw: TestGateway, key = "inside"): Promise<void> {
  const before = await gw.callerWith("operator.read").call("status", {});
  const { status, result } = await gw.callerWith("operator.admin").call("agent", { message: splitInTwo, idempotencyKey: key });
  const after = await gw.callerWith("operator.read").call("status", {});

  assert.equal(status, "ok");
  assert.match(result.payloads[0]?.text ?? "", /L[^]*R|R[^]*L/);
  for (const count of ["accepted", "completed", "announced"] as const)
    assert.equal(after.children[count] - before.children[count], 2, count);
}

/** What became of a run's children, in the order of their labels: the same whoever asked for the run, and through which door. */
export async function describeChildren(gw: TestGateway, runId: string): Promise<readonly object[]> {
  const { runs } = await gw.callerWith("operator.read").call("runs.tree", { runId });
  return runs
    .filter(({ trigger }) => trigger === "spawn")
    .map(({ label = "", depth, scopes, owner, status, delivery }) => ({ label, depth, scopes, owner, status, delivery: delivery.status }))
    .sort((a, b) => a.label.localeCompare(b.label));
}

/** What `describeChildren` answers of a run that was asked to `splitInTwo`. */
export const bothChildren: readonly object[] = ["left", "right"].map((label) => describeChild(label));

export function describeChild(label: string, depth = 1): object {
  return { label, depth, scopes: ["operator.write"], owner: false, status: "succeeded", delivery: "delivered" };
}

/** The same over a socket with the shared secret and no device. */
export async function spawnTwoOverSocket(gw: TestGateway, key = "socket"): Promise<void> {
  await using wire = await connectWire(gw.url, { token: gw.token, scopes: ["operator.admin"] });
  const answer = await runOver(wire, splitInTwo, key);

  assert.equal(answer.payload?.["status"], "ok");
}

/** Starts a run over a socket and answers its final response. */
export async function runOver(wire: Wire, message: string, key: string): Promise<Frame> {
  wire.send({ type: "req", id: key, method: "agent", params: { message, idempotencyKey: key } });
  return wire.frame((frame) => frame.id === key && frame.payload?.["status"] !== "accepted");
}

/** Pairs a fresh device over loopback and answers its key and token. */
export async function pairDevice(
  gw: { readonly url: string; readonly token: string },
  scopes: readonly string[],
): Promise<{ readonly key: WireKey; readonly deviceToken: string }> {
  const key = createWireKey();
  await using wire = await connectWire(gw.url, { key, token: gw.token, scopes });
  const auth = wire.hello["auth"] as { deviceToken: string };
  return { key, deviceToken: auth.deviceToken };
}

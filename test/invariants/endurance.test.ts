/** The invariants of authority, by number: neither the end of a process nor a new schema changes what holds of a spawn. */
import assert from "node:assert/strict";
import test, { describe } from "node:test";
import { bothChildren, describeChildren, pairDevice, runOver, splitInTwo } from "../support/delegation.ts";
import { type GatewayProcess, startGatewayProcess } from "../support/gateway-process.ts";
import { startGateway } from "../support/start-gateway.ts";
import { dumpGrants, dumpPairing, storeDevice, storedStates } from "../support/stored-pairing.ts";
import { createOldState, everySchema, migrateTo } from "../support/stored-schema.ts";
import { connectWire, refusedConnect, type Wire, type WireKey } from "../support/wire-client.ts";

const endings: Readonly<Record<string, (gw: GatewayProcess) => Promise<unknown>>> = {
  "a restart": (gw) => gw.stop("SIGTERM"),
  "kill -9": (gw) => gw.kill(),
};

// Most of their time is the start of a process.
describe("ended", { concurrency: 2 }, () => {
  for (const [ending, end] of Object.entries(endings)) {
    test(`23. 1. to 5. hold after ${ending}: for a spawn that was under way, for the next one, and for who asks for more`, async () => {
      await using gw = await startGatewayProcess();
      const { key } = await pairDevice(gw, ["operator.read"]);
      const before = dumpPairing(gw.stateDir);
      {
        await using wire = await connectWire(gw.url, { token: gw.token, scopes: ["operator.admin"] });
        const { payload } = await wire.request("agent", { message: splitInTwo, idempotencyKey: "under way" });
        assert.equal(payload?.["status"], "accepted");
        await end(gw);
      }

      await gw.start();
      await using wire = await connectWire(gw.url, { token: gw.token, scopes: ["operator.admin", "operator.pairing"] });
      const continued = await wire.request("agent.wait", { runId: "under way", timeoutMs: 30_000 });
      const next = await runOver(wire, splitInTwo, "next");

      assert.deepEqual([continued.payload?.["status"], next.payload?.["status"]], ["ok", "ok"]);
      const { connections, children, pairing } = await statusOver(wire);
      assert.deepEqual([children["accepted"], children["completed"], connections["accepted"]], [4, 4, 1]);
      assert.deepEqual([pairing, wire.frames.filter(isAboutPairing)], [{ requestsCreated: 0, pending: 0 }, []]);
      assert.equal(dumpPairing(gw.stateDir), before);
      await assertRefusedAtOnce(gw, key);
    });
  }
});

/** Each schema with one stored state, the first of all with every one. */
const olds = everySchema.flatMap((schema, index) => {
  const states = index === 0 ? storedStates : storedStates.slice(index % storedStates.length).slice(0, 1);
  return states.map((state) => ({ schema, state }));
});

for (const { schema, state } of olds) {
  test(`24. 1. to 4. hold on a state folder of schema ${schema} with a stored device in state ${state}`, async () => {
    await using old = await createOldState("001");
    await migrateTo(old.stateDir, schema);
    if (state !== "none") storeDevice(old.stateDir, state);
    const stored = dumpGrants(old.stateDir);
    await using gw = await startGateway({ root: old.root });
    const asked: unknown[] = [];
    gw.gateway.bus.subscribe("device.pair.requested", (event) => asked.push(event));
    const before = dumpPairing(gw.stateDir);

    const { status } = await gw
      .callerWith("operator.admin")
      .call("agent", { message: splitInTwo, sessionKey: "new", idempotencyKey: "new" });

    assert.deepEqual([status, await describeChildren(gw, "new")], ["ok", bothChildren]);
    assert.equal(dumpGrants(gw.stateDir), stored);
    assert.equal(dumpPairing(gw.stateDir), before);
    assert.deepEqual([asked, gw.gateway.listener.counts().accepted], [[], 0]);
  });
}

test("24. 5. holds on a state folder of every schema: a device that was stored at read is refused more at once, and keeps read", async () => {
  for (const schema of everySchema) {
    await using old = await createOldState("001");
    await migrateTo(old.stateDir, schema);
    const key = storeDevice(old.stateDir, "read");
    await using gw = await startGateway({ root: old.root });

    await assertRefusedAtOnce(gw, key);
    await using reader = await connectWire(gw.url, { key, token: gw.token, scopes: ["operator.read"] });

    assert.equal((await reader.request("status")).ok, true, schema);
  }
});

async function assertRefusedAtOnce(gw: { readonly url: string; readonly token: string }, key: WireKey): Promise<void> {
  const { error, close } = await refusedConnect(gw.url, { key, token: gw.token, scopes: ["operator.admin"] });

  assert.deepEqual([error.code, error.details?.["reason"], close.code], ["NOT_PAIRED", "scope-upgrade", 1008]);
  assert.match(String(error.details?.["remediationHint"]), /devices approve/);
}

interface Status {
  readonly connections: Readonly<Record<string, number>>;
  readonly children: Readonly<Record<string, number>>;
  readonly pairing: unknown;
}

async function statusOver(wire: Wire): Promise<Status> {
  const { payload } = await wire.request("status");
  return payload as unknown as Status;
}

function isAboutPairing({ event }: Wire["frames"][number]): boolean {
  return event?.startsWith("device.pair.") === true;
}

import assert from "node:assert/strict";
import test from "node:test";
import { ConnectionError, GatewayClient } from "@portreeve/client";
import { startPeer, type Peer } from "../../../../test/support/scripted-peer.ts";
import { Turn } from "./turn.ts";

function open(url: string): Promise<GatewayClient> {
  return GatewayClient.open({
    url,
    client: { id: "cli", mode: "cli", version: "0", platform: "test" },
    present: () => ({ scopes: ["operator.write"], credential: { kind: "none" } }),
    reconnect: { minDelayMs: 1, maxDelayMs: 1 },
  });
}

function createTurn(client: GatewayClient, patienceMs: number): Turn {
  const ask = { sessionKey: "main", message: "delete everything", patienceMs };
  return new Turn(
    () => Promise.resolve(client),
    ask,
    () => undefined,
  );
}

/** What a gateway that comes back at the same address hears: whatever waited for it, then `status`. */
async function heardByTheNext({ port }: Peer, client: GatewayClient): Promise<readonly string[]> {
  await using back = await startPeer({ port, onRequest: ({ answer }) => answer({}) });
  await client.call("status", {});
  return back.calls;
}

test("a prompt that was reported as failed is not sent when the gateway comes back", async () => {
  const received = Promise.withResolvers<void>();
  const peer = await startPeer({ onRequest: () => received.resolve() });
  using client = await open(peer.url);
  const refused = assert.rejects(createTurn(client, 0).run(), ConnectionError);
  await received.promise;

  await peer[Symbol.asyncDispose]();
  await refused;
  const heard = await heardByTheNext(peer, client);

  assert.deepEqual(heard, ["status [operator.write]"]);
});

/** A client whose gateway is gone, and which knows it. */
async function openAndLose(): Promise<{ readonly peer: Peer; readonly client: GatewayClient }> {
  const received = Promise.withResolvers<void>();
  const peer = await startPeer({ onRequest: () => received.resolve() });
  const client = await open(peer.url);
  const lost = assert.rejects(client.call("status", {}), ConnectionError);
  await received.promise;
  await peer[Symbol.asyncDispose]();
  await lost;
  return { peer, client };
}

test("a prompt that begins while the gateway is away fails when patience is over, and is never sent", async () => {
  const { peer, client } = await openAndLose();
  using _ = client;

  await assert.rejects(createTurn(client, 0).run(), { name: "CliError", code: "UNREACHABLE" });
  const heard = await heardByTheNext(peer, client);

  assert.deepEqual(heard, ["status [operator.write]"]);
});

test("a prompt that waits for the gateway is cancelled at once, and is never sent", async () => {
  const { peer, client } = await openAndLose();
  using _ = client;
  const turn = createTurn(client, 600_000);
  const answered = turn.run();
  await new Promise(setImmediate);

  await turn.cancel();
  const stopReason = await answered;
  const heard = await heardByTheNext(peer, client);

  assert.equal(stopReason, "cancelled");
  assert.deepEqual(heard, ["status [operator.write]"]);
});

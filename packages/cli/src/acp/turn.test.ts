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

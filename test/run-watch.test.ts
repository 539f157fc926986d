/** The command line's watch over a run, against a real gateway: what becomes of it when the children it waits for are stopped. */
import assert from "node:assert/strict";
import test from "node:test";
import { GatewayClient } from "@portreeve/client";
import { RunWatch } from "../packages/cli/src/run-watch.ts";
import { script, spawnStep } from "./support/script.ts";
import { startGateway } from "./support/start-gateway.ts";

const stops = {
  "chat.abort": { sessionKey: "x" },
  "sessions.delete": { key: "x" },
  "sessions.reset": { key: "x" },
} as const;

for (const [how, params] of Object.entries(stops)) {
  for (const when of ["before", "while"] as const) {
    test(`a child that ${how} of its parent stops ${when} it is waited for is not waited for`, async () => {
      await using gw = await startGateway();
      using client = await GatewayClient.open({
        url: gw.url,
        client: { id: "cli", mode: "cli", version: "0", platform: "test" },
        present: () => ({ scopes: ["operator.write"], credential: { kind: "secret", value: gw.token } }),
      });
      const stopped = Promise.withResolvers<void>();
      client.on("chat", ({ state }) => void (state === "aborted" && stopped.resolve()));
      using watch = new RunWatch(client, "r1", () => undefined);
      const message = script("go", { call: [spawnStep("kid", { hang: true })] }, { say: "left it" });
      await client.call("agent", { message, sessionKey: "x", idempotencyKey: "r1" });
      const open = watch.openChildren;
      const stop = () => gw.callerWith("operator.admin").call(how as keyof typeof stops, params as never);

      const early = when === "while" ? watch.settled() : undefined;
      await Promise.all([stop(), stopped.promise]);
      const endings = await (early ?? watch.settled());

      assert.deepEqual([open, watch.openChildren, endings], [1, 0, []]);
    });
  }
}

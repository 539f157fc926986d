import assert from "node:assert/strict";
import test from "node:test";
import type { Health } from "@portreeve/protocol";
import { ManualClock } from "../kit/manual-clock.ts";
import { secretPrincipal } from "../principal/principal.ts";
import { createHealthFeed, createHello } from "./hello.ts";

const admission = { principal: secretPrincipal([]), method: "token", role: "operator", grant: undefined, endsInMs: undefined } as const;

/** Hellos of a gateway whose health says how often it was read, or cannot be read. */
function startHellos() {
  const clock = new ManualClock();
  let [reads, isBroken] = [0, false];
  const health = createHealthFeed(() => {
    reads += 1;
    // The hello looks at no field of it.
    return isBroken ? Promise.reject(new Error("no")) : Promise.resolve({ ts: reads } as Health);
  });
  const rest = { paths: { configPath: "", stateDir: "" }, authMode: "token", serverVersion: "1", bootId: "b", clock };
  const defaults = { defaultAgentId: "main", mainKey: "main", mainSessionKey: "agent:main:main", scope: "x", modelConfigured: true };
  const presence = { listForAll: () => [], version: 0 };
  const hello = createHello({ ...rest, health, presence, sessionDefaults: () => Promise.resolve(defaults) });
  return {
    clock,
    hello: async () => (await hello("c", admission)).healthVersion,
    breakHealth: (on: boolean) => void (isBroken = on),
  };
}

test("hellos of one second say one reading of the health, a later one another", async () => {
  const { clock, hello } = startHellos();

  const together = await Promise.all([hello(), hello()]);
  clock.advance(999);
  const inTime = await hello();
  clock.advance(1);

  assert.deepEqual([together, inTime, await hello()], [[1, 1], 1, 2]);
});

test("a reading that failed is not said again", async () => {
  const { hello, breakHealth } = startHellos();
  breakHealth(true);
  await assert.rejects(hello());
  breakHealth(false);

  assert.equal(await hello(), 1);
});

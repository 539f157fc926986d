/** A hint that is lost costs time, never work. */
import assert from "node:assert/strict";
import test from "node:test";
import { createManualClock } from "./support/manual-clock.ts";
import { startGateway } from "./support/start-gateway.ts";
import { runToAdmit } from "./support/stored-runs.ts";

test("work that no hint tells of is found within ten seconds", async () => {
  const clock = createManualClock();
  await using gw = await startGateway({ clock });
  const { store } = gw.gateway;
  const admission = await store.runs.admit(runToAdmit(), clock.now());

  assert.ok(admission.kind === "admitted");
  const { runId } = admission.run;
  const statusSoon = async (): Promise<string | undefined> => {
    for (let turns = 0; turns < 1_000; turns += 1) {
      if ((await store.runs.find(runId))?.status !== "queued") break;
      await new Promise(setImmediate);
    }
    return (await store.runs.find(runId))?.status;
  };

  const before = await statusSoon();
  clock.advance(10_000);
  const after = await statusSoon();

  assert.equal(before, "queued");
  assert.notEqual(after, "queued");
});

import assert from "node:assert/strict";
import test from "node:test";
import { runToAdmit } from "../../../../test/support/stored-runs.ts";
import { Bus } from "../bus.ts";
import type { Clock } from "../kit/clock.ts";
import { createIds } from "../kit/ids.ts";
import { ManualClock } from "../kit/manual-clock.ts";
import { openStoreFile } from "../store/sqlite.ts";
import type { Store } from "../store/store.ts";
import { waitForEnd } from "./waiting.ts";

const { sessionKey } = runToAdmit();

async function admit(store: Store): Promise<string> {
  const admission = await store.runs.admit(runToAdmit(), 1);
  return admission.kind === "admitted" ? admission.run.runId : assert.fail(admission.kind);
}

/** The store, and when it is asked for a run the first time. */
function watch(store: Store): { readonly store: Store; readonly looked: Promise<void> } {
  const looked = Promise.withResolvers<void>();
  const find: Store["runs"]["find"] = (id) => store.runs.find(id).finally(looked.resolve);
  return { store: { ...store, runs: { ...store.runs, find } }, looked: looked.promise };
}

test("a run whose end nobody was told is found to have ended", async () => {
  await using store = await openStoreFile(":memory:", createIds());
  const [clock, watched, runId] = [new ManualClock(), watch(store), await admit(store)];

  const waiting = waitForEnd({ store: watched.store, bus: new Bus(), clock }, runId, new AbortController().signal);
  await watched.looked;
  await store.runs.cancel({ sessionKey }, new Map(), 20);
  clock.advance(60_000);

  assert.equal((await waiting).status, "cancelled");
});

test("a hint that comes while the store is looked at is not lost", async () => {
  await using store = await openStoreFile(":memory:", createIds());
  const [clock, bus, runId] = [new ManualClock(), new Bus(), await admit(store)];
  const find: Store["runs"]["find"] = async (id) => {
    const run = await store.runs.find(id);
    if (run?.ending === undefined) {
      await store.runs.cancel({ sessionKey }, new Map(), 20);
      bus.publish("run-ended", { runId });
    }
    return run;
  };

  const run = await waitForEnd({ store: { ...store, runs: { ...store.runs, find } }, bus, clock }, runId, new AbortController().signal);

  assert.equal(run.status, "cancelled");
});

test("a wait that is given up leaves no timer", async () => {
  await using store = await openStoreFile(":memory:", createIds());
  const timers = new Set<object>();
  const clock: Clock = {
    now: () => 10,
    schedule(atMs) {
      const timer = { atMs };
      timers.add(timer);
      return { [Symbol.dispose]: () => void timers.delete(timer) };
    },
  };
  const [watched, controller, runId] = [watch(store), new AbortController(), await admit(store)];

  const waiting = waitForEnd({ store: watched.store, bus: new Bus(), clock }, runId, controller.signal);
  await watched.looked;
  controller.abort(new Error("nobody waits"));

  await assert.rejects(waiting, /nobody waits/);
  assert.equal(timers.size, 0);
});

/** A clock that is moved back, with or without a restart: what has ended stays so, and what lasts ends no later. */
import assert from "node:assert/strict";
import test from "node:test";
import { parseSetupCode } from "@portreeve/protocol";
import { createManualClock, type ManualClock } from "./support/manual-clock.ts";
import { startGateway, type TestGateway } from "./support/start-gateway.ts";
import { script } from "./support/script.ts";
import { connectWire, createWireKey, refusedConnect, type WireKey } from "./support/wire-client.ts";

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;

/** Something that ends by itself after `lastsMs`, and a use of it: true while it still gives something. */
interface Timed {
  readonly lastsMs: number;
  begin(gw: TestGateway, clock: ManualClock): Promise<() => Promise<boolean>>;
}

const timed: Readonly<Record<string, Timed>> = {
  "a pairing request": {
    lastsMs: 5 * minuteMs,
    async begin(gw, clock) {
      const requestId = await ask(gw, clock, createWireKey());
      return async () => {
        const { pending } = await gw.callerWith("operator.admin").call("device.pair.list", {});
        const isListed = pending.some((request) => request.requestId === requestId);
        return gw
          .callerWith("operator.admin")
          .call("device.pair.approve", { requestId })
          .then(
            () => true,
            () => isListed,
          );
      };
    },
  },
  "a setup code": {
    lastsMs: 10 * minuteMs,
    async begin(gw, clock) {
      const issued = await gw.callerWith("operator.admin").call("device.pair.setupCode", { publicUrl: "ws://127.0.0.1:1" });
      const bootstrapToken = parseSetupCode(issued.setupCode)?.bootstrapToken ?? "";
      return async () => {
        const input = { key: createWireKey(), bootstrapToken, scopes: ["operator.read"], signedAt: clock.now() };
        // From afar a refusal is not held back until a clock moves.
        return connectWire(gw.url, input, { "x-forwarded-for": "203.0.113.9" }).then(
          (wire) => wire[Symbol.asyncDispose]().then(() => true),
          () => false,
        );
      };
    },
  },
  "an elevation": {
    lastsMs: 10 * minuteMs,
    async begin(gw, clock) {
      const key = createWireKey();
      const input = () => ({ key, token: gw.token, signedAt: clock.now() });
      await using _ = await connectWire(gw.url, { ...input(), scopes: ["operator.read"] });
      const requestId = await ask(gw, clock, key);
      await gw.callerWith("operator.admin").call("device.pair.approve", { requestId, expiresInMinutes: 10 });
      return () =>
        connectWire(gw.url, { ...input(), scopes: ["operator.admin"] }).then(
          (wire) => wire[Symbol.asyncDispose]().then(() => true),
          () => false,
        );
    },
  },
  "a run with a deadline": {
    lastsMs: 10 * minuteMs,
    async begin(gw, clock) {
      const { promise: accepted, resolve } = Promise.withResolvers<unknown>();
      const params = { message: script("x", { hang: true }), timeout: 600, idempotencyKey: "k" };
      const call = gw.callerWith("operator.write").call("agent", params, { onAccepted: resolve });
      call.catch(() => undefined);
      await Promise.race([accepted, call]);
      return async () => {
        // Right after a start whoever watches deadlines looks within the first minute, and ends what is due after that.
        await pass(gw, clock, 2 * minuteMs);
        const { endedAt } = await gw.callerWith("operator.write").call("agent.wait", { runId: "k", timeoutMs: 1_000 });
        return endedAt === undefined;
      };
    },
  },
  "a bearer": {
    lastsMs: 10 * minuteMs,
    async begin(gw) {
      const ask = { label: "b", scopes: ["operator.read" as const], expiresInMinutes: 10 };
      const { token } = await gw.callerWith("operator.admin").call("device.token.issue", ask);
      return async () => {
        const url = `${gw.url.replace(/^ws/, "http")}/v1/models`;
        return (await fetch(url, { headers: { authorization: `Bearer ${token}` } })).status === 200;
      };
    },
  },
};

for (const [what, { lastsMs, begin }] of Object.entries(timed)) {
  for (const life of ["goes on", "starts again"] as const) {
    test(`${what} that has ended stays so when the clock is moved back and the gateway ${life}`, async () => {
      const clock = createManualClock();
      await using gw = await startGateway({ clock, config: { gateway: { trustedProxies: ["127.0.0.1"] } } });
      const use = await begin(gw, clock);
      await pass(gw, clock, lastsMs);

      clock.jump(-lastsMs);
      if (life === "starts again") await gw.restart();

      assert.equal(await use(), false);
    });

    test(`${what} lasts no longer when the clock is moved back an hour and the gateway ${life}`, async () => {
      const clock = createManualClock();
      await using gw = await startGateway({ clock, config: { gateway: { trustedProxies: ["127.0.0.1"] } } });
      const use = await begin(gw, clock);
      await pass(gw, clock, lastsMs - 2 * minuteMs);

      clock.jump(-hourMs);
      if (life === "starts again") await gw.restart();
      clock.jump(2 * minuteMs);

      assert.equal(await use(), false);
    });
  }

  test(`${what} is good when the clock was moved back and its time is not over`, async () => {
    const clock = createManualClock();
    await using gw = await startGateway({ clock, config: { gateway: { trustedProxies: ["127.0.0.1"] } } });
    const use = await begin(gw, clock);

    clock.jump(-hourMs);
    await gw.restart();
    clock.jump(2 * minuteMs);

    assert.equal(await use(), true);
  });
}

/** A request of the device for admin, from afar when it is new. */
async function ask(gw: TestGateway, clock: ManualClock, key: WireKey): Promise<string> {
  const input = { key, token: gw.token, scopes: ["operator.admin", "operator.bogus"], signedAt: clock.now() };
  const { error } = await refusedConnect(gw.url, input);
  return String(error.details?.["requestId"]);
}

/** Minute by minute, as timers meet it; what they write is durable when it resolves. */
async function pass(gw: TestGateway, clock: ManualClock, ms: number): Promise<void> {
  for (let leftMs = ms; leftMs > 0; leftMs -= minuteMs) {
    clock.jump(minuteMs);
    // Queued behind what the timers asked the store for.
    await gw.callerWith("operator.admin").call("sessions.patch", { key: "agent:main:later", label: String(leftMs) });
  }
}

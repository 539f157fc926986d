/** The invariants of authority, by number: who asks through which door makes no difference to a spawn. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import type { MethodName } from "@portreeve/protocol";
import { routes } from "../../packages/gateway/src/http/routes.ts";
import { runCli } from "../support/cli.ts";
import { bothChildren, describeChild, describeChildren, splitInTwo } from "../support/delegation.ts";
import { script, spawnStep } from "../support/script.ts";
import { startGateway, type TestGateway } from "../support/start-gateway.ts";
import { dumpPairing } from "../support/stored-pairing.ts";
import { connectWire, createWireKey } from "../support/wire-client.ts";

/** One way in: made ready first, which may pair a device, and then asked to call one method. */
type OpenDoor = (gw: TestGateway) => Promise<Door>;
interface Door extends AsyncDisposable {
  call(method: MethodName, params: object): Promise<unknown>;
}

/** Over one socket, as a device of its own. */
function openSocket(protocol: 3 | 4): OpenDoor {
  return async (gw) => {
    const wire = await connectWire(gw.url, { key: createWireKey(), token: gw.token, scopes: ["operator.write"], protocol });
    return {
      async call(method, params) {
        const { ok, error } = await wire.request(method, params);
        assert.ok(ok, JSON.stringify(error));
      },
      [Symbol.asyncDispose]: () => wire[Symbol.asyncDispose](),
    };
  };
}

/** The command line on a home of its own, which is paired by its first command. */
async function openCli(gw: TestGateway): Promise<Door> {
  const home = await mkdtemp(join(tmpdir(), "portreeve-ingress-"));
  const env = { PORTREEVE_HOME: home, PORTREEVE_URL: gw.url, PORTREEVE_TOKEN: gw.token };
  const run = async (...args: readonly string[]): Promise<void> => {
    const { code, err } = await runCli(args, env);
    assert.equal(code, 0, err);
  };
  await run("call", "status");
  return {
    call: (method, params) => run("call", method, JSON.stringify(params)),
    [Symbol.asyncDispose]: () => rm(home, { recursive: true, force: true }),
  };
}

const inProcess: OpenDoor = (gw) =>
  Promise.resolve({
    call: (method, params) => gw.callerWith("operator.write").call(method, params as never),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  });

const doors = {
  "in process": inProcess,
  "over a socket of version 3": openSocket(3),
  "over a socket of version 4": openSocket(4),
  "with the command line": openCli,
};
const sessionKey = "agent:main:door";

for (const [door, open] of Object.entries(doors)) {
  for (const method of ["agent", "chat.send"] as const) {
    test(`22. a run asked for by ${method} ${door} spawns as every other, and pairs nobody`, async () => {
      await using gw = await startGateway();
      await using way = await open(gw);
      const before = dumpPairing(gw.stateDir);

      await way.call(method, { message: splitInTwo, sessionKey, idempotencyKey: "k" });
      const { status } = await gw.callerWith("operator.write").call("agent.wait", { runId: "k", timeoutMs: 30_000 });

      assert.deepEqual([status, await describeChildren(gw, "k")], ["ok", bothChildren]);
      assert.equal(dumpPairing(gw.stateDir), before);
    });
  }

  test(`22. a spawn asked for ${door} is accepted as every other, and pairs nobody`, async () => {
    await using gw = await startGateway();
    await using way = await open(gw);
    const before = dumpPairing(gw.stateDir);
    // The run that carries the result to whoever has the session.
    const announced = new Promise<void>((resolve) => {
      gw.gateway.bus.subscribe("agent", (event) => {
        if (event.sessionKey === sessionKey && event.stream === "lifecycle" && event.data.phase === "end") resolve();
      });
    });

    await way.call("subagents.spawn", { ...spawnStep("alone", { say: "seen" }).args, sessionKey, idempotencyKey: "k" });
    await announced;
    const { runs } = await gw.callerWith("operator.read").call("runs.list", {});
    const child = runs.find(({ trigger }) => trigger === "spawn");

    assert.deepEqual(await describeChildren(gw, child?.runId ?? "none"), [describeChild("alone")]);
    assert.equal(dumpPairing(gw.stateDir), before);
  });
}

test("22. a sub-agent's own spawn is accepted as its parent's was, one step deeper", async () => {
  await using gw = await startGateway();
  const below = spawnStep("below", { say: "seen" });
  const message = script(
    "go",
    { call: [spawnStep("above", { call: [below] }, { awaitChildren: true }, { say: "{{children}}" })] },
    { awaitChildren: true },
    { say: "{{children}}" },
  );

  await gw.callerWith("operator.write").call("agent", { message, sessionKey, idempotencyKey: "k" });

  assert.deepEqual(await describeChildren(gw, "k"), [describeChild("above"), describeChild("below", 2)]);
});

test("22. a run that a job starts spawns as every other, and pairs nobody", async () => {
  await using gw = await startGateway();
  const before = dumpPairing(gw.stateDir);
  const { call } = gw.callerWith("operator.admin");
  const job = { name: "split", schedule: { kind: "every", everyMs: 3_600_000 }, sessionTarget: `session:${sessionKey}` } as const;

  const { id } = await call("cron.add", { ...job, wakeMode: "now", payload: { kind: "agentTurn", message: splitInTwo } });
  const { runId = "none" } = await call("cron.run", { id });
  const { status } = await call("agent.wait", { runId, timeoutMs: 30_000 });

  assert.deepEqual([status, await describeChildren(gw, runId)], ["ok", bothChildren]);
  assert.equal(dumpPairing(gw.stateDir), before);
});

/** Each path of HTTP that starts a run, and the body by which it asks for one. */
const paths: Readonly<Record<string, (text: string) => object>> = {
  "/v1/chat/completions": (text) => ({ model: "openclaw", messages: [{ role: "user", content: text }] }),
  "/v1/responses": (text) => ({ model: "openclaw", input: text }),
};

for (const [path, toBody] of Object.entries(paths)) {
  test(`22. a run asked for by ${path} spawns as every other, and pairs nobody`, async () => {
    await using gw = await startGateway();
    const before = dumpPairing(gw.stateDir);

    const response = await fetch(gw.url.replace(/^ws/, "http") + path, {
      method: "POST",
      headers: { authorization: `Bearer ${gw.token}`, "x-openclaw-session-key": sessionKey, "idempotency-key": "k" },
      body: JSON.stringify(toBody(splitInTwo)),
    });

    assert.equal(response.status, 200, await response.text());
    assert.deepEqual(await describeChildren(gw, "k"), bothChildren);
    assert.equal(dumpPairing(gw.stateDir), before);
  });
}

test("22. every path of HTTP that starts a run is among the doors above", () => {
  const starting: readonly string[] = ["agent", "chat.send", "sessions.create", "sessions.send", "subagents.spawn"] satisfies MethodName[];
  const found = Object.entries(routes).filter(([, route]) => "calls" in route && starting.includes(route.calls));

  assert.deepEqual(found.map(([path]) => path).sort(), Object.keys(paths).sort());
});

/** The invariants of authority, by number: what a spawn opens, touches, carries and leaves behind. */
import assert from "node:assert/strict";
import test from "node:test";
import type { Scope } from "@portreeve/protocol";
import { z } from "zod";
import { createCaller } from "../../packages/gateway/src/dispatch/caller.ts";
import { lifecyclePrincipal } from "../../packages/gateway/src/principal/principal.ts";
import { defineTool } from "../../packages/gateway/src/tools/tool.ts";
import { splitInTwo, spawnTwoInside, spawnTwoOverSocket } from "../support/delegation.ts";
import { callTools, say, startFakeOpenAi } from "../support/fake-openai.ts";
import { script, spawnStep } from "../support/script.ts";
import { startGateway } from "../support/start-gateway.ts";
import { dumpPairing, storedStates, storeDevice, tamper } from "../support/stored-pairing.ts";
import { connectWire } from "../support/wire-client.ts";

const admin: readonly Scope[] = ["operator.admin"];

const spawnTwo = { "in process": spawnTwoInside, "over a socket": spawnTwoOverSocket };

for (const [door, spawn] of Object.entries(spawnTwo)) {
  test(`1. a spawn asked for ${door} opens no socket and touches no pairing row`, async () => {
    await using gw = await startGateway();
    const before = dumpPairing(gw.stateDir);
    const accepted = gw.gateway.listener.counts().accepted;

    await spawn(gw);

    assert.equal(gw.gateway.listener.counts().accepted - accepted, door === "in process" ? 0 : 1);
    assert.equal(dumpPairing(gw.stateDir), before);
  });

  for (const state of storedStates) {
    test(`2. with a stored device in state ${state}, a spawn asked for ${door} succeeds and the pairing tables stay the same`, async () => {
      await using gw = await startGateway();
      if (state !== "none") storeDevice(gw.stateDir, state);
      const before = dumpPairing(gw.stateDir);

      await spawn(gw);

      assert.equal(dumpPairing(gw.stateDir), before);
    });
  }

  test(`3. the first spawn on fresh state, asked for ${door}, needs no prompt`, async () => {
    await using gw = await startGateway();

    await spawn(gw);

    assert.deepEqual((await gw.callerWith("operator.read").call("status", {})).pairing, { requestsCreated: 0, pending: 0 });
  });

  test(`4. calls from inside a run asked for ${door} emit no pairing request and nobody is closed with 1008`, async () => {
    await using gw = await startGateway();
    await using watcher = await connectWire(gw.url, { token: gw.token, scopes: ["operator.pairing", "operator.read"] });
    const asked: unknown[] = [];
    gw.gateway.bus.subscribe("device.pair.requested", (event) => asked.push(event));

    await spawn(gw);
    await watcher.request("health");

    assert.deepEqual(asked, []);
    assert.deepEqual(
      watcher.frames.filter((frame) => frame.event?.startsWith("device.pair.")),
      [],
    );
    assert.equal(
      gw.logLines.some((line) => /1008|pairing required/.test(JSON.stringify(line))),
      false,
    );
  });
}

for (const held of [["operator.admin"], ["operator.write"], ["operator.admin", "operator.pairing", "operator.approvals"]] as const) {
  test(`6. the launch of a child carries no admin when the parent was started with ${held.join(" and ")}`, async () => {
    await using gw = await startGateway();

    await gw.callerWith(...held).call("agent", { message: splitInTwo, idempotencyKey: "k" });
    const { sessions } = await gw.callerWith("operator.read").call("sessions.list", { spawnedBy: "main" });

    assert.equal(sessions.length, 2);
    for (const session of sessions) assert.deepEqual(session.scopes, ["operator.write"]);
  });
}

/** A tool only the owner may use, and the sessions that did. */
function createOwnerTool() {
  const used: string[] = [];
  const tool = defineTool({
    name: "owner_tool",
    description: "Only for the owner.",
    parameters: z.strictObject({}),
    repeat: "ask",
    ownerOnly: true,
    execute: (_args, context) => Promise.resolve({ text: `used by ${used.push(context.sessionKey)}` }),
  });
  return { tool, used };
}

test("7. an owner-only tool is there for the owner's run, absent from a child's list, and refused to it at execution", async () => {
  const { tool: ownerTool, used } = createOwnerTool();
  await using provider = await startFakeOpenAi({
    handler: ({ body }) => {
      const messages = body.messages ?? [];
      const isChild = messages.some((message) => message.role === "user" && String(message.content).startsWith("CHILD"));
      const turns = messages.filter((message) => message.role === "assistant").length;
      if (isChild) return turns === 0 ? callTools({ id: "steal", name: "owner_tool", args: {} }) : say("child done");
      if (turns === 0)
        return callTools({ id: "own", name: "owner_tool", args: {} }, { id: "spawn", name: "sessions_spawn", args: { task: "CHILD" } });
      return turns === 1 ? callTools({ id: "wait", name: "sessions_yield", args: {} }) : say("done");
    },
  });
  const config = {
    models: { providers: { fake: { api: "openai-compatible", baseUrl: provider.baseUrl } } },
    agents: { defaults: { model: "fake/m" } },
  };
  await using gw = await startGateway({ config, tools: [ownerTool] });

  await gw.callerWith(...admin).call("agent", { message: "go", idempotencyKey: "k" });
  const [child] = (await gw.callerWith("operator.read").call("sessions.list", { spawnedBy: "main" })).sessions;
  const { messages } = await gw.callerWith("operator.read").call("chat.history", { sessionKey: child?.key ?? "" });

  assert.equal(child?.runStatus, "succeeded");
  assert.deepEqual(used, ["agent:main:main"]);
  assert.equal(provider.requests.length, 5);
  assert.match(JSON.stringify(messages), /There is no tool \\"owner_tool\\" for this run/);
  for (const { body } of provider.requests) {
    const isChild = body.messages?.some((message) => message.role === "user" && message.content === "CHILD") ?? false;
    assert.equal(
      body.tools?.some((tool) => tool.function.name === "owner_tool"),
      !isChild,
    );
  }
});

test("7. without admin the starter's own run is not the owner's either", async () => {
  const { tool, used } = createOwnerTool();
  await using gw = await startGateway({ tools: [tool] });
  const message = script("go", { call: [{ tool: "owner_tool", args: {} }] }, { say: "done" });

  await gw.callerWith("operator.write", "operator.pairing").call("agent", { message, sessionKey: "writer", idempotencyKey: "w" });
  await gw.callerWith(...admin).call("agent", { message, sessionKey: "owner", idempotencyKey: "a" });

  assert.deepEqual(used, ["agent:main:owner"]);
});

test("8. the lifecycle capability deletes its own child's session and does nothing else", async () => {
  await using gw = await startGateway();
  for (const key of ["agent:main:subagent:mine", "agent:main:subagent:other"])
    await gw.callerWith("operator.write").call("sessions.patch", { key });
  const lifecycle = createCaller(gw.gateway.dispatch, lifecyclePrincipal("agent:main:subagent:mine"));

  await assert.rejects(lifecycle.call("sessions.delete", { key: "agent:main:subagent:other" }), { code: "WRONG_CALLER" });
  await assert.rejects(lifecycle.call("sessions.patch", { key: "agent:main:subagent:mine", label: "x" }), { code: "WRONG_CALLER" });
  await assert.rejects(lifecycle.call("status", {}), { code: "WRONG_CALLER" });

  assert.equal((await lifecycle.call("sessions.delete", { key: "agent:main:subagent:mine" })).deleted, true);
  assert.deepEqual(
    (await gw.callerWith("operator.read").call("sessions.list", {})).sessions.map((session) => session.key),
    ["agent:main:subagent:other"],
  );
});

test("19. and 20. a spawn is accepted only with a durable run and session; a failure in the middle leaves neither", async () => {
  await using gw = await startGateway();
  const caller = gw.callerWith("operator.write");
  const good = await caller.call("subagents.spawn", { task: script("x", { say: "y" }), idempotencyKey: "good" });
  const before = await caller.call("status", {});

  tamper(gw.stateDir, "create trigger no_audit before insert on audit begin select raise(abort, 'the audit is down'); end");
  await assert.rejects(caller.call("subagents.spawn", { task: "z", idempotencyKey: "bad" }), { code: "INTERNAL" });
  tamper(gw.stateDir, "drop trigger no_audit");
  const after = await caller.call("status", {});
  const again = await caller.call("subagents.spawn", { task: script("z", { say: "z" }), idempotencyKey: "bad" });

  assert.equal((await gw.gateway.store.runs.find(good.runId))?.sessionKey, good.childSessionKey);
  assert.deepEqual([after.children.accepted, after.sessions.count], [before.children.accepted, before.sessions.count]);
  assert.equal(again.status, "accepted");
});

test("20. a failed spawn inside a run is told to the model, and the run goes on", async () => {
  await using gw = await startGateway();
  tamper(
    gw.stateDir,
    "create table keep (x); create trigger no_child before insert on runs when new.depth > 0 begin select raise(abort, 'no'); end",
  );

  const { result } = await gw
    .callerWith("operator.write")
    .call("agent", { message: script("go", { call: [spawnStep("a", { say: "x" })] }, { say: "{{result:1}}" }), idempotencyKey: "k" });
  const failure = JSON.parse((result.payloads[0]?.text ?? "").split("\n\n(")[0] ?? "") as Record<string, unknown>;

  assert.deepEqual([failure["status"], failure["code"]], ["error", "INTERNAL"]);
  assert.doesNotMatch(JSON.stringify(failure), /trigger|abort|raise|'no'/);
  assert.equal((await gw.callerWith("operator.read").call("status", {})).sessions.count, 1);
});

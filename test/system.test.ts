/** Who is here, what the log says, and what this gateway has none of: over the socket, and from the command line. */
import assert from "node:assert/strict";
import { stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { run } from "../packages/cli/src/program.ts";
import { captureIo } from "./support/captured-io.ts";
import { runCli } from "./support/cli.ts";
import { startGatewayProcess } from "./support/gateway-process.ts";
import { connectWire, createWireKey, type Frame } from "./support/wire-client.ts";

const ui = { id: "openclaw-control-ui", mode: "ui", platform: "web", displayName: "Desk" };

test("who is here, what the log says, and what there is none of", async (t) => {
  await using gateway = await startGatewayProcess();
  const { url, token, home } = gateway;
  await using admin = await connectWire(url, { token, scopes: ["operator.admin"] });

  await t.test("an arrival is told to who may read, with its number, and to nobody else", async () => {
    await using nobody = await connectWire(url, { token, scopes: [] });
    await using wire = await connectWire(url, { key: createWireKey(), token, scopes: ["operator.read"], client: ui });
    const arrived = (frame: Frame): boolean => frame.event === "presence" && JSON.stringify(frame.payload).includes("Desk");
    const told = await wire.frame(arrived);
    const listed = await wire.request("system-presence", { any: "option" });
    const refused = await nobody.request("system-presence");

    const { presence, stateVersion } = wire.hello["snapshot"] as { presence: { mode: string }[]; stateVersion: { presence: number } };
    const next = (told as unknown as { stateVersion: { presence: number } }).stateVersion;
    assert.equal(presence[0]?.mode, "gateway");
    assert.ok(next.presence > stateVersion.presence);
    assert.deepEqual(listed.payload, told.payload?.["presence"]);
    assert.deepEqual((nobody.hello["snapshot"] as { presence: unknown[] }).presence, []);
    assert.equal(refused.error?.details?.["code"], "MISSING_SCOPE");
    assert.equal(
      nobody.frames.some((frame) => frame.event === "presence"),
      false,
    );
  });

  await t.test("version 3 is told of presence in its own closed shape", async () => {
    await using old = await connectWire(url, { token, key: createWireKey(), scopes: ["operator.read"], protocol: 3, client: ui });

    const { payload } = await old.frame((frame) => frame.event === "presence");
    const listed = await old.request("system-presence");

    for (const text of [JSON.stringify(payload), JSON.stringify(listed.payload)]) assert.doesNotMatch(text, /onlineSince|timeZone/);
  });

  await t.test("what somebody says of themselves is shown, never taken for who they are", async () => {
    const said = await admin.request("system-event", { text: "Node: kitchen", host: "kitchen", deviceId: "another", scopes: ["all"] });
    const listed = await admin.request("system-presence");
    const aimed = await admin.request("system-event", { text: "wake up", sessionKey: "agent:main:main" });

    const entry = (listed.payload as unknown as { text: string; deviceId?: string; scopes: string[] }[]).find(({ text }) =>
      /kitchen/.test(text),
    );
    assert.equal(said.ok, true);
    assert.deepEqual([entry?.deviceId, entry?.scopes], [undefined, ["operator.admin"]]);
    assert.equal(aimed.error?.details?.["code"], "NOT_SUPPORTED");
  });

  await t.test("there is no channel and no heartbeat", async () => {
    const channels = await admin.request("channels.status", { probe: true, timeoutMs: 500, channel: "telegram" });
    const heartbeat = await admin.request("last-heartbeat", {});

    assert.deepEqual([channels.payload?.["channelOrder"], channels.payload?.["channels"]], [[], {}]);
    assert.deepEqual([heartbeat.ok, heartbeat.payload], [true, null]);
  });

  await t.test("the log is read by cursor; where it lies is told to the owner, and no secret is in it", async () => {
    const first = await admin.request("logs.tail");
    await using other = await connectWire(url, { key: createWireKey(), token, scopes: ["operator.read"] });
    const rest = await other.request("logs.tail", { cursor: first.payload?.["cursor"] });
    const bad = await other.request("logs.tail", { limit: 0 });

    const lines = rest.payload?.["lines"] as string[];
    const file = join(gateway.stateDir, "gateway.log");
    assert.deepEqual([first.payload?.["file"], rest.payload?.["file"]], [file, "gateway.log"]);
    assert.ok(lines.some((line) => /paired silently/.test((JSON.parse(line) as { msg: string }).msg)));
    assert.equal(bad.error?.details?.["code"], "INVALID_PARAMS");
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    assert.ok(!JSON.stringify([first.payload, rest.payload]).includes(token));
  });

  await t.test("the command line shows who is here and the log, and follows it until it is interrupted", async () => {
    const env = { PORTREEVE_HOME: home };
    const presence = await runCli(["presence"], env);
    const newest = await runCli(["logs", "--json", "--limit", "1"], env);
    const offline = await runCli(["logs", "--limit", "1", "--state", gateway.stateDir], { PORTREEVE_HOME: `${home}-none` });
    const stop = new AbortController();
    let said = "";
    const out = (text: string): void => {
      if (said === "")
        void connectWire(url, { key: createWireKey(), token, scopes: ["operator.read"] }).then((wire) => wire[Symbol.asyncDispose]());
      said += text;
      if (said.split("paired silently").length > 3) stop.abort();
    };
    const io = { ...captureIo({ env, cwd: tmpdir() }), out, err: () => undefined };
    const code = await run(["logs", "--follow", "--interval", "50", "--limit", "2"], { ...io, interrupted: () => stop.signal });

    assert.match(presence.out, /gateway/, presence.err);
    assert.match(offline.out, /^20\S+Z info .*paired silently/, offline.err);
    assert.equal(newest.out.trim().split("\n").length, 1);
    assert.ok(JSON.parse(newest.out));
    assert.equal(code, 0);
    assert.match(said, /^20\S+Z info /);
  });
});

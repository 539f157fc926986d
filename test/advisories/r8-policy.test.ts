/** One table of what needs which scope, for whatever door or wording a caller chooses. */
import assert from "node:assert/strict";
import { script } from "../support/script.ts";
import { openWire } from "../support/wire-client.ts";
import { advisory, fromRemote, httpUrl, ownerWith, runToEnd, shareGateway } from "./advisory.ts";

const shared = shareGateway();

advisory(40, "an upgrade on any path is the same door: a challenge, and nothing before a connect", async () => {
  const { gateway } = shared;
  for (const path of ["/cdp", "/devtools/browser/1", "/relay?token=x", "/node", "/canvas", "//", "/health"]) {
    await using wire = await openWire(`${gateway.url}${path}`);
    const { error } = await wire.request("Target.getTargets");

    assert.equal(error?.details?.["code"], "INVALID_HANDSHAKE", path);
    assert.equal((await wire.closed).code, 1008, path);
  }
});

advisory(41, "a reset that is written into a message needs what the reset needs, and no spelling of it resets a session", async () => {
  const { gateway } = shared;
  await using writer = await ownerWith(gateway, "operator.write");
  await runToEnd(writer, script("remember", { say: "kept" }), { key: "first" });
  const refused: (string | undefined)[] = [];

  for (const [index, message] of ["/new", "/reset", "/new and go on", "/reset\nnow"].entries())
    refused.push((await writer.request("agent", { message, idempotencyKey: `reset-${index}` })).error?.message);
  for (const [index, text] of [" /new", "/NEW", "/Reset", "please /reset"].entries())
    await runToEnd(writer, script(text, { say: "no" }), { key: `spelt-${index}` });
  const history = await writer.request("chat.history", { sessionKey: "main" });

  assert.deepEqual([...new Set(refused)], ["missing scope: operator.admin"]);
  assert.match(JSON.stringify(history.payload?.["messages"]), /kept/);
  assert.equal(history.payload?.["totalMessages"], 10);
});

advisory(47, "a session over HTTP needs the scope that its method needs over a socket, whatever the request says it has", async () => {
  const { gateway } = shared;
  await using owner = await ownerWith(gateway, "operator.admin");
  const bearerWith = async (...scopes: readonly string[]): Promise<string> =>
    String((await owner.request("device.token.issue", { label: `of ${scopes.join()}`, scopes })).payload?.["token"]);
  const read = async (token: string, path: string, headers = {}) =>
    await fetch(httpUrl(gateway, path), { headers: { authorization: `Bearer ${token}`, ...headers } });
  const [talker, reader] = [await bearerWith("operator.talk", "operator.pairing"), await bearerWith("operator.read")];
  const admin = { "x-openclaw-scopes": "operator.admin" };

  const denied = [
    await read(talker, "/sessions/main/history"),
    await read(talker, "/sessions/main/history", admin),
    await read(talker, "/sessions/main/history?scopes=operator.admin"),
    await read(gateway.token, "/sessions/main/history", { ...fromRemote, ...admin }),
  ];
  const allowed = await read(reader, "/sessions/main/history");

  assert.deepEqual(
    denied.map(({ status }) => status),
    [403, 403, 403, 403],
  );
  assert.match(await (denied[0] ?? assert.fail()).text(), /missing scope: operator\.read/);
  assert.equal(allowed.status, 200);
});

advisory(48, "read stops no run and removes no session, over the socket or HTTP", async () => {
  const { gateway } = shared;
  await using owner = await ownerWith(gateway, "operator.admin");
  await using reader = await ownerWith(gateway, "operator.read");
  await owner.request("chat.send", { sessionKey: "busy", message: script("wait", { hang: true }), idempotencyKey: "busy" });

  const answers = [
    await reader.request("chat.abort", { sessionKey: "busy" }),
    await reader.request("chat.send", { sessionKey: "busy", message: "/stop", idempotencyKey: "stop" }),
    await reader.request("sessions.delete", { key: "busy" }),
    await reader.request("sessions.patch", { key: "busy", archived: true }),
  ];
  const statuses = await Promise.all(
    ["/sessions/busy/kill", "/api/sessions/busy/abort"].map(
      async (path) =>
        (await fetch(httpUrl(gateway, path), { method: "POST", headers: { authorization: `Bearer ${gateway.token}` } })).status,
    ),
  );
  const { sessions } = (await reader.request("sessions.list", { search: "busy" })).payload as { sessions: { hasActiveRun: boolean }[] };
  await owner.request("chat.abort", { sessionKey: "busy" });

  assert.deepEqual([...new Set(answers.map(({ error }) => error?.details?.["code"]))], ["MISSING_SCOPE"]);
  assert.deepEqual(statuses, [404, 404]);
  assert.deepEqual(
    sessions.map((session) => session.hasActiveRun),
    [true],
  );
});

advisory(49, "write deletes no session, and a session's own lineage is not write's to set", async () => {
  const { gateway } = shared;
  await using writer = await ownerWith(gateway, "operator.write");
  await writer.request("sessions.patch", { key: "kept" });

  const deleted = await writer.request("sessions.delete", { key: "kept" });
  const adopted = await writer.request("sessions.patch", { key: "kept", spawnedBy: "main", spawnDepth: 1 });
  const { sessions } = (await writer.request("sessions.list", { search: "kept" })).payload as { sessions: { spawnedBy?: string }[] };

  assert.equal(deleted.error?.message, "missing scope: operator.admin");
  assert.equal(adopted.error?.message, "missing scope: operator.admin");
  assert.deepEqual(
    sessions.map((session) => session.spawnedBy),
    [undefined],
  );
});

advisory(44, "whoever may write reaches neither the configuration nor what runs by itself later", async () => {
  const { gateway } = shared;
  await using writer = await ownerWith(gateway, "operator.write");
  await using owner = await ownerWith(gateway, "operator.admin");
  const job = {
    name: "later",
    schedule: { kind: "every", everyMs: 60_000 },
    sessionTarget: "isolated",
    payload: { kind: "agentTurn", message: "x" },
  };
  const config = { raw: "{}", baseHash: "x" };
  const before = await owner.request("cron.list", {});

  const refused = [
    await writer.request("cron.add", job),
    await writer.request("cron.update", { id: "x", patch: { enabled: true } }),
    await writer.request("cron.run", { id: "x" }),
    await writer.request("config.set", config),
    await writer.request("config.patch", config),
    await writer.request("config.apply", config),
  ];

  assert.deepEqual([...new Set(refused.map(({ error }) => error?.message))], ["missing scope: operator.admin"]);
  assert.deepEqual((await owner.request("cron.list", {})).payload?.["jobs"], before.payload?.["jobs"]);
});

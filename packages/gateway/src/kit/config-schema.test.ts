import assert from "node:assert/strict";
import { test } from "node:test";
import { parseConfig } from "./config.ts";
import { listHints, lookUp, reloadKindOf, schemaAt, toConfigSchema, toPath } from "./config-schema.ts";
import { changedPaths } from "./config-change.ts";
import { LiveConfig } from "./live-config.ts";

const schema = toConfigSchema();

test("every secret of the configuration is marked as one", () => {
  const secrets = Object.entries(listHints(schema)).flatMap(([path, { sensitive }]) => (sensitive === true ? [path] : []));

  assert.deepEqual(secrets.toSorted(), ["gateway.auth.password", "gateway.auth.token", "models.providers.*.apiKey"]);
});

test("a key is found by its path, a chosen name by any, and what there is not is not", () => {
  assert.equal(schemaAt(schema, toPath("models.providers.mine.apiKey"))?.sensitive, true);
  assert.equal(schemaAt(schema, toPath("models/providers[*].apiKey"))?.sensitive, true);
  assert.equal(schemaAt(schema, toPath("gateway.trustedProxies.0")) !== undefined, true);
  for (const path of ["gateway.constructor", "gateway.port.x", "nothing", "__proto__"])
    assert.equal(schemaAt(schema, toPath(path)), undefined);
});

test("a key says what it means, what is below it, and whether a change counts at once", () => {
  const auth = lookUp(schema, ["gateway", "auth"]);
  const token = auth?.children.find(({ key }) => key === "token");

  assert.deepEqual(
    [auth?.reloadKind, token?.path, token?.type, token?.hasChildren, token?.required],
    ["restart", "gateway.auth.token", "string", false, false],
  );
  assert.deepEqual([token?.hint?.sensitive, token?.hintPath], [true, "gateway.auth.token"]);
  assert.equal(lookUp(schema, ["agents", "entries"])?.children[0]?.key, "*");
});

test("what counts at once does, and of what needs a restart the value from the start stays", () => {
  const started = parseConfig("{ gateway: { port: 1 }, agents: { defaults: { stallSeconds: 5, subagents: { maxConcurrent: 3 } } } }", "a");
  const next = parseConfig(
    "{ gateway: { port: 2 }, models: { contextWindows: { 'a/b': 2000 } }, agents: { defaults: { model: 'scripted', stallSeconds: 9, compaction: { share: 0.5 }, subagents: { maxConcurrent: 4, maxSpawnDepth: 2, archiveAfterMinutes: 1 } }, entries: { b: {} } } }",
    "b",
  );
  const live = new LiveConfig(started);
  const made = live.derive((config) => ({ ids: Object.keys(config.agents.entries) }));
  const before = made();

  live.take(live.blend(next));

  const { gateway, models, agents } = live.current;
  assert.deepEqual([gateway.port, models.contextWindows, agents.defaults.stallSeconds, agents.defaults.compaction.share], [1, {}, 5, 0.8]);
  assert.deepEqual([agents.defaults.subagents.maxConcurrent, agents.defaults.subagents.archiveAfterMinutes], [3, 60]);
  assert.deepEqual(
    [agents.defaults.model, agents.defaults.subagents.maxSpawnDepth, Object.keys(agents.entries)],
    ["scripted", 2, ["main", "b"]],
  );
  assert.deepEqual([before.ids, made().ids, made() === made()], [["main"], ["main", "b"], true]);
  // One list says what waits, one keeps it as it was: they agree on every key there is.
  const waits = changedPaths(live.current, next);
  assert.deepEqual(
    waits,
    changedPaths(started, next).filter((path) => reloadKindOf(path) === "restart"),
  );
  assert.deepEqual(waits.map((path) => path.join(".")).toSorted(), [
    "agents.defaults.compaction.share",
    "agents.defaults.stallSeconds",
    "agents.defaults.subagents.archiveAfterMinutes",
    "agents.defaults.subagents.maxConcurrent",
    "gateway.port",
    "models.contextWindows.a/b",
  ]);
  assert.deepEqual([reloadKindOf(["agents", "entries", "b", "tools"]), reloadKindOf([])], ["hot", "restart"]);
});

test("the setting of paths that are always there takes either value, and says that neither changes anything", () => {
  for (const chatCompletions of [true, false])
    assert.equal(
      parseConfig(JSON.stringify({ gateway: { http: { chatCompletions } } }), "a").gateway.http.chatCompletions,
      chatCompletions,
    );
  assert.match(schemaAt(schema, toPath("gateway.http.chatCompletions"))?.description ?? "", /^Without effect/);
});

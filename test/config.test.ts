/** `config.*` on one gateway: shown without secrets, changed under the hash, on the record, counting at once where it can. */
import assert from "node:assert/strict";
import { chmod, mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { ProtocolError, type Result } from "@portreeve/protocol";
import { parseJson5 } from "../packages/gateway/src/kit/config.ts";
import { startGateway, type TestGateway } from "./support/start-gateway.ts";
import { connectWire } from "./support/wire-client.ts";

const sentinel = "__OPENCLAW_REDACTED__";
const initial = `// kept by hand: old key sk-old
{
  models: { providers: { p: { api: "openai-compatible", baseUrl: "http://127.0.0.1:9/v1", apiKey: "sk-stored" } } },
  agents: { entries: { main: {}, helper: { tools: { deny: ["grep"] } } } },
}
`;

let root: string;
let file: string;
let gateway: TestGateway;

before(async () => {
  root = await mkdtemp(join(tmpdir(), "portreeve-config-"));
  file = join(root, "config.json5");
  await writeFile(file, initial, { mode: 0o600 });
  gateway = await startGateway({ root, config: parseJson5(initial, file) as object, env: { PORTREEVE_TOKEN: "from-the-environment" } });
});
after(async () => {
  await gateway[Symbol.asyncDispose]();
  await rm(root, { recursive: true, force: true });
});

const admin = () => gateway.callerWith("operator.admin");
const get = (): Promise<Result<"config.get">> => admin().call("config.get", {});

async function refusal(work: Promise<unknown>): Promise<ProtocolError> {
  const error = await work.then(
    () => assert.fail("it was done"),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof ProtocolError, String(error));
  return error;
}

/** Each test begins with the file as it was. */
async function reset(text = initial): Promise<string> {
  await writeFile(file, text);
  return (await get()).hash;
}

test("the file is shown without its secrets and comments, and where it lies to the owner alone", async () => {
  await reset();
  const reader = await gateway.callerWith("operator.read").call("config.get", {});
  const owner = await get();

  assert.deepEqual([owner.path, reader.path, reader.exists, reader.valid, reader.raw], [file, "config.json5", true, true, null]);
  assert.deepEqual(reader.config, {
    models: { providers: { p: { api: "openai-compatible", baseUrl: "http://127.0.0.1:9/v1", apiKey: sentinel } } },
    agents: { entries: { main: {}, helper: { tools: { deny: ["grep"] } } } },
  });
  assert.match(owner.hash, /^hmac-sha256:v1:[\w-]{43}$/);
  assert.deepEqual([owner.restartRequired, (owner.runtimeConfig["gateway"] as { bind: string }).bind], [[], "loopback"]);
  for (const shown of [reader, owner]) assert.doesNotMatch(JSON.stringify(shown), /sk-stored|sk-old|from-the-environment/);
});

test("a file that holds neither secret nor comment is shown as it is written", async () => {
  await reset('{ "agents": {} }\n');

  assert.equal((await get()).raw, '{ "agents": {} }\n');
});

test("a secret that lacks its quotes, or that a later one replaces in the same object, is shown to nobody", async () => {
  const reader = () => gateway.callerWith("operator.read").call("config.get", {});
  const shown = [];
  for (const text of [
    '{"gateway":{"auth":{"mode":"password","password":86753091234}}}',
    '{"models":{"providers":{"x":{"api":"openai","apiKey":"sk-86753091234"}}},"models":{}}',
    '{"gateway":{"auth":{"token":"86753091234","token":""}}}',
    '{"gateway":{"auth":{"token":"86753091234","\\u0074oken":""}}}',
    '{"models":{"providers":{"openai":"sk-86753091234"}}}',
  ])
    shown.push(await reset(text).then(reader));

  assert.deepEqual(
    shown.map(({ raw }) => raw),
    [null, null, null, null, null],
  );
  assert.doesNotMatch(JSON.stringify(shown), /86753091234/);
  assert.deepEqual(shown[0]?.parsed, { gateway: { auth: { mode: "password", password: sentinel } } });
});

test("a broken file is shown as broken, its texts withheld, and can be replaced but not patched", async () => {
  const hash = await reset('{ models: { providers: { p: { api: "openai", apiKy: "sk-typo" } } } }');
  const mistyped = await get();
  const patched = await refusal(admin().call("config.patch", { raw: "{}", baseHash: hash }));
  const unreadable = await reset("{ not json5 ").then(get);
  const set = await admin().call("config.set", { raw: "{ agents: {} }", baseHash: unreadable.hash });

  assert.equal(mistyped.valid, false);
  assert.deepEqual(mistyped.issues, [{ path: "models.providers.p", message: "unknown key: apiKy" }]);
  assert.doesNotMatch(JSON.stringify(mistyped), /sk-typo/);
  assert.equal(patched.code, "CONFIG_INVALID");
  assert.deepEqual([unreadable.valid, unreadable.config, unreadable.issues[0]?.path], [false, null, ""]);
  assert.equal(set.ok, true);
});

test("whoever did not see the file as it is changes nothing", async () => {
  const hash = await reset();
  const none = await refusal(admin().call("config.patch", { raw: "{ agents: {} }" }));
  await writeFile(file, initial.replace("helper", "another"));
  const stale = await refusal(admin().call("config.set", { raw: "{}", baseHash: hash }));

  assert.deepEqual([none.code, none.message], ["CONFIG_HASH_REQUIRED", "config base hash required; re-run config.get and retry"]);
  assert.deepEqual([stale.code, stale.message], ["CONFIG_CHANGED", "config changed since last load; re-run config.get and retry"]);
  assert.match(await readFile(file, "utf8"), /another/);
});

test("of two changes that saw the same file one is made", async () => {
  const baseHash = await reset();
  const raws = ["{ agents: { entries: { one: {} } } }", "{ agents: { entries: { two: {} } } }"];

  const outcomes = await Promise.allSettled(raws.map((raw) => admin().call("config.patch", { raw, baseHash })));

  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ["fulfilled", "rejected"],
  );
});

test("what is not JSON5, not valid, or would not start is refused with where and why, and nothing is written", async () => {
  const baseHash = await reset();
  const set = (raw: string) => refusal(admin().call("config.set", { raw, baseHash }));
  const broken = await set("{ gateway: ");
  const wrong = await set("{ gateway: { port: 'x', nothing: 1 } }");
  const exposed = await set("{ gateway: { bind: 'lan', auth: { mode: 'none' } } }");
  const tool = await set("{ agents: { entries: { main: { tools: { deny: ['no-such-tool'] } } } } }");
  const list = await set("[]");
  const polluted = await set('{ "__proto__": { "gateway": {} } }');
  const deep = await set(`{ "agents": ${"[".repeat(20_000)}${"]".repeat(20_000)} }`);

  assert.deepEqual(
    [broken, wrong, exposed, tool, list, polluted, deep].map(({ code }) => code),
    Array.from({ length: 7 }, () => "CONFIG_INVALID"),
  );
  assert.match(wrong.message, /^invalid config: gateway\.port: .*; gateway: unknown key: nothing$/);
  assert.deepEqual(
    (wrong.details["issues"] as { path: string }[]).map(({ path }) => path),
    ["gateway.port", "gateway"],
  );
  assert.match(exposed.message, /gateway\.auth\.mode is none/);
  assert.equal(await readFile(file, "utf8"), initial);
});

test("a patch keeps what it does not name, the secrets too, and the file before it with its comments", async () => {
  const baseHash = await reset();

  const done = await admin().call("config.patch", {
    raw: "{ agents: { entries: { helper: null, third: { model: 'scripted' } } } }",
    baseHash,
  });

  const text = await readFile(file, "utf8");
  assert.deepEqual(done.changedPaths.toSorted(), ["agents.entries.helper.tools.deny", "agents.entries.third.model"]);
  assert.equal(done.hash, (await get()).hash);
  assert.match(text, /"apiKey": "sk-stored"/);
  assert.doesNotMatch(text, /from-the-environment|REDACTED/);
  assert.doesNotMatch(JSON.stringify(done), /sk-stored/);
  assert.equal(await readFile(`${file}.bak`, "utf8"), initial);
  assert.deepEqual(await Promise.all([file, `${file}.bak`].map(async (path) => (await stat(path)).mode & 0o777)), [0o600, 0o600]);
});

test("the file before a change is for its owner alone, whoever might read the file itself", async () => {
  const baseHash = await reset();
  await chmod(file, 0o644);

  await admin().call("config.patch", { raw: "{ agents: { entries: { third: {} } } }", baseHash });

  assert.equal((await stat(`${file}.bak`)).mode & 0o777, 0o600);
});

test("what was shown and is written back is as it was; a text without a sentinel stays to the letter", async () => {
  await reset();
  const { config, hash } = await get();
  const back = await admin().call("config.apply", { raw: JSON.stringify(config), baseHash: hash, sessionKey: "main", note: "hi" } as never);
  const moved = await refusal(
    admin().call("config.set", { raw: JSON.stringify({ agents: { defaults: { model: sentinel } } }), baseHash: back.hash }),
  );
  const byHand = "// mine\n{ agents: { entries: { main: {} } } }";
  await admin().call("config.set", { raw: byHand, baseHash: back.hash });

  assert.deepEqual([back.changedPaths, moved.code], [[], "CONFIG_INVALID"]);
  assert.equal(await readFile(file, "utf8"), `${byHand}\n`);
});

test("a stored key is not sent to an address that was written without it", async () => {
  const baseHash = await reset();
  const patch = (raw: string) => admin().call("config.patch", { raw, baseHash });
  const stolen = await refusal(patch("{ models: { providers: { p: { baseUrl: 'http://attacker.example/v1' } } } }"));
  const fromEnvironment = await refusal(
    patch("{ models: { providers: { openai: { api: 'openai', baseUrl: 'http://attacker.example/v1' } } } }"),
  );
  const own = await patch("{ models: { providers: { p: { baseUrl: 'http://127.0.0.1:8/v1', apiKey: 'sk-new' } } } }");

  assert.match(stolen.message, /models\.providers\.p\.apiKey: must be given anew/);
  assert.match(fromEnvironment.message, /models\.providers\.openai\.apiKey/);
  assert.equal(own.ok, true);
});

test("no method points an agent at a folder that no agent has: its owner does that in the file", async () => {
  const baseHash = await reset();
  const [inside, link] = [join(root, "workspace", "inside"), join(root, "workspace", "link")];
  await mkdir(inside, { recursive: true });
  await symlink(gateway.stateDir, link);
  const patch = (workspace: string) =>
    admin().call("config.patch", { raw: JSON.stringify({ agents: { entries: { reader: { workspace } } } }), baseHash });
  const refused = await Promise.all([gateway.stateDir, root, "/", link, "workspace", join(root, "none")].map((one) => refusal(patch(one))));
  const allowed = await patch(inside);

  for (const { message } of refused) assert.match(message, /^invalid config: agents\.entries\.reader\.workspace: must lie in a folder/);
  assert.equal(allowed.ok, true);
});

test("a folder that stands in the file already stays when something else is changed", async () => {
  const baseHash = await reset(JSON.stringify({ agents: { entries: { main: { workspace: root } } } }));

  const done = await admin().call("config.patch", { raw: "{ agents: { defaults: { model: 'p/other' } } }", baseHash });

  const { agents } = await admin().call("agents.list", {});
  assert.equal(done.ok, true);
  assert.deepEqual(agents.find(({ id }) => id === "main")?.model, { primary: "p/other" });
  assert.equal(agents.find(({ id }) => id === "main")?.workspace, root);
});

test("agents and models count at once, the rest is named and waits, and a reader of the audit sees which keys, by whom", async () => {
  const baseHash = await reset();
  const heard: unknown[] = [];
  using _ = gateway.gateway.bus.subscribe("config.changed", (change) => void heard.push(change));
  const raw = "{ gateway: { port: 4 }, agents: { entries: { fresh: {} }, defaults: { subagents: { maxSpawnDepth: 1 } } } }";

  const done = await admin().call("config.patch", { raw, baseHash });

  const agents = await admin().call("agents.list", {});
  const { rows } = await admin().call("audit.list", { limit: 1, kind: "config.changed" });
  assert.ok(agents.agents.some(({ id }) => id === "fresh"));
  assert.equal((await stat(join(root, "workspace-fresh"))).isDirectory(), true);
  assert.deepEqual([done.restartRequired, done.sentinel.payload.stats.requiresRestart], [["gateway.port"], true]);
  assert.deepEqual((await get()).restartRequired, ["gateway.port"]);
  assert.deepEqual([rows[0]?.actor, rows[0]?.subject], ["secret:local", "config"]);
  assert.match(rows[0]?.facts ?? "", /"paths":\["agents.entries.fresh","agents.defaults.subagents.maxSpawnDepth","gateway.port"\]/);
  assert.deepEqual(heard, [{ path: file, hash: done.hash, ts: (heard[0] as { ts: number }).ts }]);
});

test("what the owner writes into the file is said to wait, and counts with the next apply where it can", async () => {
  await admin().call("config.apply", { raw: initial, baseHash: await reset() });
  const edited = "{ gateway: { drainSeconds: 7 }, agents: { entries: { main: {}, helper: {}, byhand: {} } } }\n";
  const baseHash = await reset(edited);
  const before = await get();
  const applied = await admin().call("config.apply", { raw: edited, baseHash });

  const { agents } = await admin().call("agents.list", {});
  assert.deepEqual(before.restartRequired.filter((path) => /byhand|drain/.test(path)).toSorted(), [
    "agents.entries.byhand",
    "gateway.drainSeconds",
  ]);
  assert.deepEqual([applied.noop, applied.restartRequired], [true, ["gateway.drainSeconds"]]);
  assert.ok(agents.some(({ id }) => id === "byhand"));
});

test("a change that changes nothing says so, writes nothing and is not told", async () => {
  const baseHash = await reset();
  const heard: unknown[] = [];
  using _ = gateway.gateway.bus.subscribe("config.changed", (change) => void heard.push(change));

  const done = await admin().call("config.patch", { raw: "{ agents: { entries: { main: {} } } }", baseHash });

  assert.deepEqual([done.noop, done.hash, heard], [true, baseHash, []]);
  assert.equal(await readFile(file, "utf8"), initial);
});

test("only an operator with admin changes the configuration; no run does, whoever started it", async () => {
  const baseHash = await reset();
  const writer = gateway.callerWith("operator.write", "operator.pairing", "operator.approvals");
  const outcomes = await Promise.all(
    (["config.set", "config.patch", "config.apply"] as const).map((method) => refusal(writer.call(method, { raw: "{}", baseHash }))),
  );

  assert.deepEqual(
    outcomes.map(({ code }) => code),
    ["MISSING_SCOPE", "MISSING_SCOPE", "MISSING_SCOPE"],
  );
});

test("the schema says what every key is and the look-up what one is", async () => {
  const reader = gateway.callerWith("operator.read");
  const { schema, uiHints } = await reader.call("config.schema", {});
  const port = await reader.call("config.schema.lookup", { path: "gateway.port" });
  const missing = await refusal(reader.call("config.schema.lookup", { path: "gateway.prt" }));

  assert.ok(typeof schema === "object" && schema !== null && "properties" in schema);
  assert.equal(uiHints["models.providers.*.apiKey"]?.sensitive, true);
  assert.deepEqual([port.reloadKind, port.children, (port.schema as { maximum: number }).maximum], ["restart", [], 65_535]);
  assert.equal(missing.code, "UNKNOWN_CONFIG_KEY");
});

test("over the socket either version gets its own shape, and only the owner hears of the change", async () => {
  await reset();
  await using old = await connectWire(gateway.url, { token: "from-the-environment", scopes: ["operator.admin"], protocol: 3 });
  await using reader = await connectWire(gateway.url, { token: "from-the-environment", scopes: ["operator.read"] });
  const { payload: shown } = await old.request("config.get");

  const done = await old.request("config.patch", { raw: "{ agents: { defaults: { model: 'scripted' } } }", baseHash: shown?.["hash"] });
  await old.frame((frame) => frame.event === "config.changed");
  await reader.request("health");

  assert.deepEqual(Object.keys(done.payload ?? {}), ["ok", "path", "config"]);
  assert.equal(
    reader.frames.some((frame) => frame.event === "config.changed"),
    false,
  );
});

test("a link to the file stays one, and a folder that cannot be written is said", async (t) => {
  const real = join(root, "real.json5");
  await writeFile(real, "{}");
  await rm(file);
  await symlink(real, file);
  const { hash } = await get();
  await admin().call("config.set", { raw: "{ agents: {} }", baseHash: hash });
  assert.equal(await readFile(real, "utf8"), "{ agents: {} }\n");
  await rm(file);

  await t.test("a folder in its place", async () => {
    await mkdir(file);
    const refused = await refusal(get());
    await rm(file, { recursive: true });

    assert.deepEqual([refused.code, /EISDIR/.test(refused.message)], ["CONFIG_UNWRITABLE", true]);
  });
});

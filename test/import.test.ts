/** `import openclaw`: real state folders of both generations, and folders that lie. */
import assert from "node:assert/strict";
import { lstat, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import type { ImportReport } from "../packages/gateway/src/importing/import.ts";
import { findHome } from "../packages/gateway/src/kit/home.ts";
import { runGateway } from "../packages/gateway/src/main.ts";
import { runCli } from "./support/cli.ts";
import { createOpenClawState, type OpenClawState } from "./support/openclaw-state.ts";
import { connectWire, createWireKey, refusedConnect, type Wire } from "./support/wire-client.ts";

interface Home extends AsyncDisposable {
  readonly path: string;
  import(source: string, ...flags: readonly string[]): Promise<ImportReport>;
  /** The code of the refusal. */
  refusal(source: string, ...flags: readonly string[]): Promise<string>;
  /** A running gateway on it, and its owner's connection. */
  start(): Promise<AsyncDisposable & { readonly url: string; readonly token: string; readonly owner: Wire }>;
}

async function createHome(): Promise<Home> {
  const path = await mkdtemp(join(tmpdir(), "portreeve-import-"));
  const env = { PORTREEVE_HOME: join(path, "home"), HOME: path };
  const run = (source: string, flags: readonly string[]) => runCli(["import", "openclaw", "--json", "--state", source, ...flags], env);
  return {
    path: env.PORTREEVE_HOME,
    async import(source, ...flags) {
      const { code, out, err } = await run(source, flags);
      assert.equal(code, 0, err);
      return JSON.parse(out) as ImportReport;
    },
    async refusal(source, ...flags) {
      const { code, err } = await run(source, flags);
      assert.equal(code, 1, err);
      return (JSON.parse(err) as { error: { code: string } }).error.code;
    },
    async start() {
      const { configFile, stateDir, workspaceDir } = findHome(env);
      const gateway = await runGateway({
        configFile,
        stateDir,
        workspaceDir,
        port: 0,
        env: { PORTREEVE_CHECK_RESULTS: "1" },
        logLevel: "silent",
      });
      const token = (await readFile(join(stateDir, "secret"), "utf8")).trim();
      const owner = await connectWire(gateway.url, { token, scopes: ["operator.admin"] });
      return {
        url: gateway.url,
        token,
        owner,
        async [Symbol.asyncDispose]() {
          await owner[Symbol.asyncDispose]();
          await gateway[Symbol.asyncDispose]();
        },
      };
    },
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  };
}

const names = (part: ImportReport["devices"]): readonly string[] => part.imported.map(({ what }) => what);

async function edit(source: OpenClawState, file: string, change: (value: never) => unknown): Promise<void> {
  const path = join(source.path, file);
  await writeFile(path, JSON.stringify(change(JSON.parse(await readFile(path, "utf8")) as never)));
}

for (const [generation, devices] of [
  ["2026.4", 3],
  ["2026.9", 4],
] as const) {
  test(`devices, agents, sessions and jobs of ${generation} come over once, and its folder is not touched`, async () => {
    await using source = await createOpenClawState(generation);
    await using home = await createHome();
    const before = await source.digest();

    const tried = await home.import(source.path, "--dry-run");
    const isThere = await lstat(home.path).catch(() => undefined);
    const report = await home.import(source.path);
    const again = await home.import(source.path);
    await using gateway = await home.start();
    const { owner } = gateway;
    const paired = (await owner.request("device.pair.list")).payload?.["paired"] as {
      role: string;
      scopes: string[];
      displayName: string;
    }[];
    const history = (await owner.request("chat.history", { sessionKey: "main" })).payload?.["messages"] as {
      role: string;
      content: unknown;
    }[];
    const jobs = (await owner.request("cron.list", { includeDisabled: true })).payload?.["jobs"] as {
      name: string;
      enabled: boolean;
      agentId?: string;
    }[];
    const { agents } = (await owner.request("agents.list")).payload as { agents: { id: string }[] };
    const { sessions } = (await owner.request("sessions.list")).payload as { sessions: { key: string; label?: string }[] };
    const audit = (await owner.request("audit.list", { limit: 50 })).payload?.["rows"] as { kind: string; actor: string; facts: string }[];

    assert.equal(await source.digest(), before);
    assert.equal(isThere, undefined);
    assert.deepEqual({ ...tried, dryRun: false }, report);
    assert.deepEqual([report.generation, names(report.agents), report.devices.imported.length], [generation, ["main", "helper"], devices]);
    assert.deepEqual(
      [again.agents, again.devices, again.sessions, again.jobs].map(({ imported }) => imported.length),
      [0, 0, 0, 0],
    );
    assert.equal(paired.length, devices);
    assert.deepEqual(paired.find(({ displayName }) => displayName === "Admin desk")?.scopes.includes("operator.admin"), true);
    assert.deepEqual(paired.find(({ displayName }) => displayName === "Kitchen")?.role, "node");
    assert.match(JSON.stringify(history), /hello from the fixture.*reply \d.*read the note please.*reply \d/s);
    assert.deepEqual(Object.fromEntries(jobs.map(({ name, enabled }) => [name, enabled])), {
      "Every ten": false,
      Morning: false,
      Once: false,
    });
    assert.deepEqual(agents.map(({ id }) => id).toSorted(), ["helper", "main"]);
    assert.deepEqual(Object.fromEntries(sessions.map(({ key, label = "" }) => [key, label])), {
      "agent:helper:main": "",
      "agent:main:main": "",
      "agent:main:research": "Research",
    });
    assert.deepEqual(
      audit.map(({ kind }) => kind).filter((kind) => kind === "device.imported" || kind === "state.imported").length,
      devices + 1,
    );
    assert.ok(audit.every(({ actor, kind }) => actor === "host" || !kind.endsWith(".imported")));
    assert.equal((await owner.request("audit.verify")).payload?.["ok"], true);
  });
}

test("an imported device comes in with the secret at what it was approved for, gets a token, and nothing more by itself", async () => {
  await using source = await createOpenClawState("2026.4");
  await using home = await createHome();
  const key = createWireKey();
  const record = (over: object = {}) => ({
    deviceId: key.id,
    publicKey: key.publicKey,
    displayName: "Desk",
    platform: "linux",
    clientId: "test",
    clientMode: "test",
    roles: ["operator"],
    approvedScopes: ["operator.read", "operator.everything"],
    tokens: { operator: { token: "t" } },
    ...over,
  });
  await edit(source, "devices/paired.json", () => ({ [key.id]: record() }));
  const report = await home.import(source.path);
  await using gateway = await home.start();
  const { url, token } = gateway;

  await using reader = await connectWire(url, { key, token, scopes: ["operator.read"] });
  const wider = await refusedConnect(url, { key, token, scopes: ["operator.write"] });
  await using withToken = await connectWire(url, {
    key,
    deviceToken: String((reader.hello["auth"] as { deviceToken: string }).deviceToken),
    scopes: ["operator.read"],
  });

  assert.deepEqual(report.devices.imported, [
    { what: `Desk (${key.id.slice(0, 8)})`, notes: ["without operator.everything, which there is not here"] },
  ]);
  assert.equal(wider.error.details?.["code"], "PAIRING_REQUIRED");
  assert.equal((await withToken.request("health")).ok, true);
});

test("a device that was revoked there, removed here, or is not who it says does not come over", async () => {
  await using source = await createOpenClawState("2026.4");
  await using home = await createHome();
  const [revoked, removed, liar] = [createWireKey(), createWireKey(), createWireKey()];
  const record = ({ id, publicKey }: { id: string; publicKey: string }, over: object = {}) => ({
    deviceId: id,
    publicKey,
    roles: ["operator"],
    approvedScopes: ["operator.admin"],
    tokens: { operator: {} },
    ...over,
  });
  await home.import(source.path);
  {
    await using gateway = await home.start();
    await using _ = await connectWire(gateway.url, { key: removed, token: gateway.token, scopes: ["operator.read"] });
    await gateway.owner.request("device.pair.remove", { deviceId: removed.id });
  }
  await edit(source, "devices/paired.json", () => ({
    [revoked.id]: record(revoked, { tokens: { operator: { revokedAtMs: 5 } } }),
    [removed.id]: record(removed),
    [liar.id]: record({ id: liar.id, publicKey: revoked.publicKey }),
    odd: 7,
  }));

  const { devices } = await home.import(source.path);

  assert.deepEqual(devices.imported, []);
  assert.deepEqual(
    devices.left.map(({ why }) => why),
    [
      "it has no role that is not revoked",
      "its key was rejected, removed or revoked here",
      "its id is not the hash of its key",
      "its record cannot be read",
    ],
  );
});

for (const generation of ["2026.4", "2026.9"] as const) {
  test(`a session of ${generation} keeps the model that somebody chose for it, where it can be used here; one made beside another comes too`, async () => {
    await using source = await createOpenClawState(generation);
    await using home = await createHome();
    await choose(source, generation, {
      "agent:main:main": { providerOverride: "anthropic", modelOverride: "claude-x", modelOverrideSource: "user" },
      "agent:main:research": { providerOverride: "mock", modelOverride: "m2", parentSessionKey: "agent:main:main", spawnDepth: 0 },
    });
    await choose(source, generation, {
      "agent:helper:main": { providerOverride: "openai", modelOverride: "gpt-x", modelOverrideSource: "auto" },
    });

    const { sessions } = await home.import(source.path);
    await using gateway = await home.start();
    const rows = (await gateway.owner.request("sessions.list")).payload?.["sessions"] as { key: string; model: string }[];

    assert.deepEqual(
      sessions.imported.filter(({ what, notes }) => what.includes("model") || notes.length > 0),
      [
        { what: "agent:main:main (its model: anthropic/claude-x)", notes: [] },
        { what: "agent:main:research", notes: ["without its model mock/m2: set models.providers.mock first"] },
      ],
    );
    assert.deepEqual(Object.fromEntries(rows.map(({ key, model }) => [key, model === "claude-x"])), {
      "agent:helper:main": false,
      "agent:main:main": true,
      "agent:main:research": false,
    });
  });
}

/** Changes what the source says of sessions, by their keys. */
async function choose(source: OpenClawState, generation: "2026.4" | "2026.9", facts: Readonly<Record<string, object>>): Promise<void> {
  for (const [key, fact] of Object.entries(facts)) {
    const agentId = key.split(":")[1] ?? "";
    if (generation === "2026.4") {
      await edit(source, `agents/${agentId}/sessions/sessions.json`, (entries: Record<string, object>) => ({
        ...entries,
        [key]: { ...entries[key], ...fact },
      }));
    } else {
      using db = new DatabaseSync(join(source.path, `agents/${agentId}/agent/openclaw-agent.sqlite`));
      const { parentSessionKey = null } = fact as { parentSessionKey?: string };
      db.prepare(
        "update session_nodes set entry_json = json_patch(coalesce(entry_json, '{}'), ?), parent_session_key = ? where session_key = ?",
      ).run(JSON.stringify(fact), parentSessionKey, key);
    }
  }
}

test("a file that is broken, a link, or too much to be true is named and passed over; what is sound comes", async () => {
  await using source = await createOpenClawState("2026.4");
  await using home = await createHome();
  const outside = `${source.path}-outside`;
  await mkdir(outside);
  await using _ = { [Symbol.asyncDispose]: () => rm(outside, { recursive: true, force: true }) };
  await writeFile(
    join(outside, "secret.jsonl"),
    '{"type":"message","id":"1","parentId":null,"message":{"role":"user","content":"not yours"}}',
  );
  await writeFile(join(source.path, "cron/jobs.json"), "{ broken");
  await rm(join(source.path, "devices/paired.json"));
  await symlink(join(outside, "secret.jsonl"), join(source.path, "devices/paired.json"));
  await rm(join(source.path, "agents/helper"), { recursive: true });
  await symlink(outside, join(source.path, "agents/helper"));
  const sessions = "agents/main/sessions";
  await symlink(join(outside, "secret.jsonl"), join(source.path, sessions, "linked.jsonl"));
  await edit(source, `${sessions}/sessions.json`, (value: object) => ({
    ...value,
    "agent:main:linked": { sessionId: "linked", updatedAt: 5 },
    "agent:main:climbs": { sessionId: "../../../secret", updatedAt: 5 },
    "agent:main:gone": { sessionId: "gone", sessionFile: join(outside, "secret.jsonl"), updatedAt: 5 },
    "agent:main:subagent:x": { sessionId: "x", updatedAt: 5 },
    "agent:other:main": { sessionId: "y", updatedAt: 5 },
    __proto__x: { sessionId: "z" },
  }));

  const report = await home.import(source.path);

  assert.deepEqual(report.problems.map(({ file, why }) => `${file} ${why}`).toSorted(), [
    "agents/helper/agent/openclaw-agent.sqlite is a link, or lies behind one: links are not followed",
    "cron/jobs.json is not JSON",
    "devices/paired.json is a link, or lies behind one: links are not followed",
  ]);
  assert.deepEqual(names(report.sessions), ["agent:main:main", "agent:main:research"]);
  assert.deepEqual(Object.fromEntries(report.sessions.left.map(({ what, why }) => [what, why])), {
    "agent:main:linked": "agents/main/sessions/linked.jsonl is a link, or lies behind one: links are not followed",
    "agent:main:climbs": "it has no session id that can be read",
    "agent:main:gone": "agents/main/sessions/gone.jsonl is missing",
    "agent:main:subagent:x": "a sub-agent's: it was for one task, and what it was limited to does not come along",
    "agent:other:main": "it lies with the agent main, whose it is not",
    __proto__x: "it is no conversation with an agent",
  });
});

test("a database that cannot be read is named, and what was left beside it by an earlier version is not used instead", async () => {
  await using source = await createOpenClawState("2026.9");
  await using old = await createOpenClawState("2026.4");
  await using home = await createHome();
  await writeFile(
    join(source.path, "state/openclaw.sqlite"),
    "not a database, and longer than its header of one hundred bytes would be".repeat(3),
  );
  await mkdir(join(source.path, "devices"));
  await writeFile(join(source.path, "devices/paired.json"), await readFile(join(old.path, "devices/paired.json")));

  const report = await home.import(source.path);

  assert.deepEqual([report.generation, report.devices.imported, report.jobs.imported], ["2026.9", [], []]);
  assert.match(
    report.problems.map(({ file, why }) => `${file} ${why}`).join(),
    /^state\/openclaw\.sqlite cannot be read: file is not a database$/,
  );
  assert.equal(report.sessions.imported.length, 3);
});

test("an agent's folder comes along where it is fit for one, and never one that holds keys", async () => {
  await using source = await createOpenClawState("2026.4");
  await using home = await createHome();
  const fit = join(dirname(home.path), "work");
  await mkdir(fit, { recursive: true });
  await mkdir(home.path, { recursive: true });
  const workspaces = { main: fit, keys: home.path, all: "/", user: "~", old: source.path, gone: "/no/such/folder", "Not An Id!": fit };
  await edit(source, "openclaw.json", () => ({
    agents: { list: Object.entries(workspaces).map(([id, workspace]) => ({ id, workspace, model: "openai/gpt-x" })) },
  }));
  await writeFile(join(home.path, "config.json5"), "// mine\n{ gateway: { port: 0 } }");

  const { agents } = await home.import(source.path);

  const config = JSON.parse(await readFile(join(home.path, "config.json5"), "utf8")) as { agents: { entries: object }; gateway: object };
  const model = "openai/gpt-x";
  assert.deepEqual(config, {
    gateway: { port: 0 },
    agents: {
      entries: { main: { workspace: fit, model }, keys: { model }, all: { model }, user: { model }, old: { model }, gone: { model } },
    },
  });
  assert.match(await readFile(join(home.path, "config.json5.bak"), "utf8"), /mine/);
  assert.deepEqual(
    agents.imported.flatMap(({ notes }) => notes.map((note) => note.replace(/^.*: /, ""))),
    [
      "this gateway's own files are there",
      "this gateway's own files are there",
      "this gateway's own files are there",
      "the old gateway's keys are there",
    ],
  );
  assert.equal(agents.left[0]?.why, "its name cannot be an agent's here");
});

test("jobs that this gateway cannot run as they are do not come over, each with its reason", async () => {
  await using source = await createOpenClawState("2026.4");
  await using home = await createHome();
  const job = (id: string, over: object) => ({
    id,
    name: id,
    enabled: true,
    schedule: { kind: "every", everyMs: 60_000 },
    sessionTarget: "isolated",
    wakeMode: "now",
    payload: { kind: "agentTurn", message: "go" },
    ...over,
  });
  await edit(source, "cron/jobs.json", () => ({
    version: 1,
    jobs: [
      job("narrow", { payload: { kind: "agentTurn", message: "go", toolsAllow: ["ls"] } }),
      job("script", { payload: { kind: "script", script: "rm -rf /" } }),
      job("webhook", { delivery: { mode: "webhook", to: "http://elsewhere.example" } }),
      job("stranger", { agentId: "nobody" }),
      job("trigger", { trigger: { script: "true" } }),
      job("no schedule", { schedule: undefined }),
      "odd",
    ],
  }));

  const { jobs } = await home.import(source.path);
  await using gateway = await home.start();
  const listed = (await gateway.owner.request("cron.list", { includeDisabled: true })).payload?.["jobs"] as {
    enabled: boolean;
    payload: object;
  }[];

  assert.deepEqual(names(jobs), ["narrow"]);
  assert.deepEqual(
    listed.map(({ enabled, payload }) => [enabled, payload]),
    [[false, { kind: "agentTurn", message: "go", toolsAllow: ["ls"] }]],
  );
  const whys = Object.fromEntries(jobs.left.map(({ what, why }) => [what, why]));
  assert.match(String(whys["script"]), /not supported: payload\.kind script/);
  assert.match(String(whys["webhook"]), /not supported: delivery\.mode webhook/);
  assert.deepEqual(
    [whys["stranger"], whys["trigger"], whys["(a job)"]],
    ["there is no agent nobody here", "its trigger is not supported", "its record cannot be read"],
  );
  assert.equal(whys["no schedule"], "it has no schedule, or nothing to do");
});

test("nothing is imported beside a running gateway, over a broken configuration, or from what is no state folder", async () => {
  await using source = await createOpenClawState("2026.4");
  await using home = await createHome();
  await mkdir(join(home.path, "empty"), { recursive: true });
  const nowhere = await home.refusal(join(home.path, "empty"));
  const missing = await home.refusal(join(home.path, "none"));
  await using gateway = await home.start();
  const beside = await home.refusal(source.path);
  const dry = await home.import(source.path, "--dry-run");
  await writeFile(join(home.path, "config.json5"), "{ nothing: 1 }");
  const broken = await home.refusal(source.path, "--dry-run");

  assert.deepEqual([nowhere, missing, beside, broken], ["SOURCE_NOT_FOUND", "SOURCE_NOT_FOUND", "STATE_IN_USE", "CONFIG_UNUSABLE"]);
  assert.equal(dry.devices.imported.length, 3);
  const { paired } = (await gateway.owner.request("device.pair.list")).payload as { paired: unknown[] };
  assert.deepEqual(paired, []);
});
